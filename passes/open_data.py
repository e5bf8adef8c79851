"""open_data: training and evaluation data, checked against the model before anything long runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnxprune.core.stage import Bench, Pass
from onnxprune.graph import Model
from onnxprune.train import Dataset, open_data
from onnxprune.train.sources import Source

__all__ = ["OpenData"]


@dataclass(frozen=True)
class OpenData(Pass):
    """Gives "data" and "eval_data", each only where a source was named.

    Attributes:
        data: Training data, or None.
        eval_data: Evaluation data, or None.
        image_mean: Mean of uint8 images in [0, 1] units, or None.
        image_std: Standard deviation, likewise.
    """

    data: Source | None = None
    eval_data: Source | None = None
    image_mean: Sequence[float] | None = None
    image_std: Sequence[float] | None = None

    name = "open_data"
    needs = ("original",)
    edits = ("data", "eval_data")

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Opens.

        Raises:
            DataError: when data does not fit the model.
        """
        model = bench.take("original", Model)
        found: dict[str, Dataset] = {}
        for name, source in (("data", self.data), ("eval_data", self.eval_data)):
            if source is None:
                continue
            found[name] = open_data(
                source,
                model.inputs(),
                image_mean=self.image_mean,
                image_std=self.image_std,
                outputs=model.outputs(),
            )
            for note in found[name].notes:
                bench.note(note)
        return found
