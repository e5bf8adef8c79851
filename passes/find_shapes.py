"""find_shapes: two concrete runs tell every shape, and which sizes are static.

The second run changes every dynamic dimension at once. What a graph computes from shapes alone
and is equal in both runs is a constant in disguise; it is folded, so that what stays computed
is truly dynamic. An attention scale computed from a head's width is frozen to its value here,
before the width is pruned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxprune.core.stage import Bench, Pass
from onnxprune.graph import Model, fold_values, shape_derived
from onnxprune.groups import ConcreteShapes
from onnxprune.runtime import Capture, FeedPair, capture, find_feeds, stand_in

__all__ = ["FindShapes"]


@dataclass(frozen=True)
class FindShapes(Pass):
    """Gives "shapes" and "feeds"; edits "model" by folding what turned out static.

    Attributes:
        sample: Input name → real data whose dimensions are tried first, or None.
        seed: Draws the inputs.
    """

    sample: Mapping[str, np.ndarray[Any, Any]] | None = None
    seed: int = 0

    name = "find_shapes"
    needs = ("model",)
    gives = ("shapes", "feeds")
    edits = ("model",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Runs the model twice.

        Raises:
            ModelError: when onnxruntime runs it on no input that was tried.
        """
        model = bench.take("model", Model)
        runnable = stand_in(model)
        for note in runnable.notes:
            bench.note(note)
        proto = runnable.model.to_proto()
        feeds = find_feeds(proto, runnable.model.inputs(), rng=np.random.default_rng(self.seed), sample=self.sample)
        if feeds.note:
            bench.note(feeds.note)
        first = capture(proto, feeds.first)
        second = capture(proto, feeds.second) if feeds.second is not None else None
        fold_values(model, _static_values(model, first, second))
        shapes = ConcreteShapes(
            first=first.shapes, second=second.shapes if second is not None else None, batch=_batch(model, feeds)
        )
        return {"model": model, "shapes": shapes, "feeds": feeds}


def _static_values(model: Model, first: Capture, second: Capture | None) -> dict[str, np.ndarray[Any, Any]]:
    """Returns the tensors computed from shapes and constants alone that are equal in both runs."""
    found = {}
    for name in shape_derived(model):
        value = first.values.get(name)
        other = value if second is None else second.values.get(name)
        if value is not None and other is not None and np.array_equal(value, other):
            found[name] = value
    return found


def _batch(model: Model, feeds: FeedPair) -> int:
    """Returns the size of the first input's leading axis, which counts samples."""
    first = next((feeds.first[spec.name] for spec in model.inputs() if spec.name in feeds.first), None)
    return int(first.shape[0]) if first is not None and first.ndim else 1
