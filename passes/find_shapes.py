"""find_shapes: two concrete runs tell every shape, and which sizes are static.

The second run changes every dynamic dimension at once. What a graph computes from shapes alone
and is equal in both runs is a constant in disguise; it is folded, so that what stays computed
is truly dynamic. An attention scale computed from a head's width is frozen to its value here,
before the width is pruned. So is the condition of an If, which is then replaced by the branch it
takes, and the model is run again. Vectors that an exporter merged because they were equal (all-zero
biases, mostly) are copied per reader at last: sharing them would couple layers that have nothing
to do with one another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxprune.core.errors import DataError, ModelError
from onnxprune.core.stage import Bench, Pass
from onnxprune.graph import Model, fold_values, shape_derived, unshare_vectors
from onnxprune.groups import ConcreteShapes
from onnxprune.passes.fold_constants import fold, open_branches
from onnxprune.runtime import Capture, FeedPair, StandIn, choose_feeds, find_feeds, observe, stand_in
from onnxprune.train.bench import find_samples

__all__ = ["FindShapes"]

AnyArray = NDArray[Any]
_ROWS = 8


@dataclass(frozen=True)
class FindShapes(Pass):
    """Gives "shapes" and "feeds"; edits "model" by folding what turned out static.

    Attributes:
        sample: Input name → real data whose dimensions are tried first; None takes some rows of the
            data that was opened, if any.
        seed: Draws the inputs.
    """

    sample: Mapping[str, AnyArray] | None = None
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
        if runnable.is_widened:
            bench.note("onnxruntime has no CPU kernels for bfloat16: everything is checked and timed in float32.")
        rng = np.random.default_rng(self.seed)
        feeds = find_feeds(runnable.model, runnable.model.inputs(), rng=rng, sample=self._sample(bench))
        if feeds.note:
            bench.note(feeds.note)
        first, second = self._runs(model, runnable, feeds)
        while open_branches(model, bench):  # what lay in a branch has not been seen yet
            first, second = self._runs(model, stand_in(model), feeds)
        fold(model, bench)  # what the sizes found static lead to, such as slices of a packed weight
        unshare_vectors(model)
        shapes = ConcreteShapes(
            first=first.shapes,
            second=second.shapes if second is not None else None,
            batch=_batch(model, feeds),
            dtypes=first.dtypes,
        )
        return {"model": model, "shapes": shapes, "feeds": feeds}

    def _sample(self, bench: Bench) -> Mapping[str, AnyArray] | None:
        data = find_samples(bench, "data", "eval_data")
        return self.sample if self.sample is not None or data is None else data.first(_ROWS).inputs

    def _runs(self, model: Model, stand: StandIn, feeds: FeedPair) -> tuple[Capture, Capture | None]:
        """Runs a model on both sets of inputs and folds what is computed from shapes and equal in both.

        Args:
            model: Is folded.
            stand: Runs in its place.
            feeds: The inputs.
        """
        sets = [feeds.first, *([feeds.second] if feeds.second is not None else [])]
        first, *rest = observe(stand.model, *sets)
        second = rest[0] if rest else None
        static: Mapping[str, AnyArray] = _static_values(model, first, second)
        if feeds.second is not None and any(value.dtype == np.bool_ for value in static.values()):
            static = self._alike_at_batch_one(static, stand.model, feeds)
        if stand.is_widened:  # what is bfloat16 in the model must not become float32
            static = {name: value for name, value in static.items() if value.dtype.kind in "biu"}
        fold_values(model, static)
        return first, second

    def _alike_at_batch_one(
        self, static: Mapping[str, AnyArray], model: Model, feeds: FeedPair
    ) -> Mapping[str, AnyArray]:
        """Returns `static` without truth values that differ at batch size one: "is there one row?" is no constant."""
        rng = np.random.default_rng(self.seed)
        try:
            single = choose_feeds(model.inputs(), batch=1, other=None, rng=rng, sample=dict(feeds.first))
            (seen,) = observe(model, single)
        except (DataError, ModelError):
            return static  # a model that does not run on one row has no such case
        return {
            name: value
            for name, value in static.items()
            if value.dtype != np.bool_ or np.array_equal(value, seen.values.get(name, value))
        }


def _static_values(model: Model, first: Capture, second: Capture | None) -> dict[str, AnyArray]:
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
