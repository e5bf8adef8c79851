"""open_data: training and evaluation data, checked against the model before anything long runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxprune.core.errors import DataError
from onnxprune.core.stage import Bench, Pass
from onnxprune.graph import Model
from onnxprune.train.data import Dataset, Samples, open_data
from onnxprune.train.label_checks import LabelKind
from onnxprune.train.sources import ImageSize, Source, Split

__all__ = ["OpenData"]

_SPLITS: dict[str, Split] = {"data": "train", "val_data": "validation", "eval_data": "test"}
_CALLED = {"val_data": "validation", "eval_data": "evaluation"}


@dataclass(frozen=True)
class OpenData(Pass):
    """Gives "data", "val_data" and "eval_data", each only where a source was named.

    Attributes:
        data: Training data, or None.
        eval_data: Evaluation data, or None.
        image_mean: Mean of images in [0, 1] units, or None.
        image_std: Standard deviation, likewise.
        image_size: Height and width of image files where the model leaves them open, or None.
        skip_corrupt: Whether to leave out image files that cannot be read.
        labels: "classes", "any" where a loss of the user's reads them, or "either".
        val_data: Validation data, or None.
        val_share: Share of the training data to set aside as validation data, or None.
        seed: Draws that share.
    """

    data: Source | None = None
    eval_data: Source | None = None
    image_mean: Sequence[float] | None = None
    image_std: Sequence[float] | None = None
    image_size: ImageSize | None = None
    skip_corrupt: bool = False
    labels: LabelKind = "classes"
    val_data: Source | None = None
    val_share: float | None = None
    seed: int = 0

    name = "open_data"
    needs = ("original",)
    edits = ("data", "val_data", "eval_data")

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Opens.

        Raises:
            DataError: when data does not fit the model, or both have other classes.
            UsageError: when code is named that does not exist.
        """
        model = bench.take("original", Model)
        found: dict[str, Samples] = {}
        for name, source in (("data", self.data), ("val_data", self.val_data), ("eval_data", self.eval_data)):
            if source is None:
                continue
            found[name] = open_data(
                source,
                model.inputs(),
                image_mean=self.image_mean,
                image_std=self.image_std,
                image_size=self.image_size,
                skip_corrupt=self.skip_corrupt,
                outputs=model.outputs(),
                labels=self.labels,
                split=_SPLITS[name],
            )
            for note in found[name].notes:
                bench.note(note)
        for name in ("val_data", "eval_data"):
            _check_same_classes(found, name)
        if self.val_share and "data" in found:
            found["data"], found["val_data"] = self._split(found["data"], self.val_share)
        return found

    def _split(self, data: Samples, share: float) -> tuple[Samples, Samples]:
        if not isinstance(data, Dataset):
            raise DataError(
                "A share of the batches of your own code cannot be set aside as validation data, since its order may "
                "change. Leave val_share out and give val_data (--val-data)."
            )
        if len(data) < 2:
            raise DataError("The training data has one sample, of which no share can be set aside for validation.")
        return data.split(share, np.random.default_rng(self.seed))


def _check_same_classes(found: Mapping[str, Samples], name: str) -> None:
    """Refuses class i of one set under another name in the other: its accuracy would mean nothing."""
    train, test = (found[key].classes if key in found else () for key in ("data", name))
    if not train or not test or train == test:
        return
    index = next((i for i, (one, two) in enumerate(zip(train, test, strict=False)) if one != two), None)
    if index is None and len(test) < len(train):
        return  # the last classes have no samples here
    where = f"class {index} is {train[index]!r} in one and {test[index]!r} in the other" if index is not None else ""
    raise DataError(
        f"Training data and {_CALLED[name]} data have different classes: "
        f"{where or f'{len(train)} against {len(test)}'}. Class indices count the names in order, so both need the "
        "same names; a sub-folder may be empty."
    )
