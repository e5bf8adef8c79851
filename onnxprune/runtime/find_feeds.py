"""Two sets of inputs on which a model runs, every dynamic dimension different in the second.

What a graph computes with its dynamic dimensions (a Reshape to 7 × 7, a stride, a window)
decides which sizes it takes, and no rule predicts it: sizes are tried until one runs. A
tensor axis that is equal in both runs is then static.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onnxprune.core.errors import ModelError
from onnxprune.graph import TensorSpec
from onnxprune.runtime.feeds import DynamicDims, choose_feeds, dynamic_dims
from onnxprune.runtime.session import ModelSource, Session, make_session, run
from onnxprune.runtime.values import AnyArray

__all__ = ["FeedPair", "find_feeds"]

_BATCHES = (2, 1, 4, 8)
_SIZES = (32, 64, 224, 16, 8, 128, 4, 256, 2, 512, 1)


@dataclass(frozen=True)
class FeedPair:
    """Inputs of two runs.

    Attributes:
        first: Input name → array.
        second: The same with other dynamic dimensions, or None where there is nothing to change.
        unchanged: Symbols of dynamic dimensions that have the same size in both.
        note: Why some are unchanged, "" when all differ.
    """

    first: Mapping[str, AnyArray]
    second: Mapping[str, AnyArray] | None
    unchanged: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class _Sizes:
    batch: int
    other: int | None


@dataclass
class _Trial:
    """Runs a session on candidate sizes and remembers what the last one that failed said."""

    session: Session
    inputs: Sequence[TensorSpec]
    sample: Mapping[str, AnyArray] | None
    rng: np.random.Generator
    failure: str = ""

    def first_that_runs(self, candidates: Iterator[_Sizes]) -> tuple[_Sizes, dict[str, AnyArray]] | None:
        for sizes in candidates:
            feeds = choose_feeds(self.inputs, batch=sizes.batch, other=sizes.other, rng=self.rng, sample=self.sample)
            try:
                run(self.session, feeds)
            except ModelError as error:
                self.failure = str(error)
                continue
            return sizes, feeds
        return None


def find_feeds(
    model: ModelSource,
    inputs: Sequence[TensorSpec],
    *,
    rng: np.random.Generator,
    sample: Mapping[str, AnyArray] | None = None,
    folder: Path | None = None,
) -> FeedPair:
    """Returns inputs for two runs of `model`.

    Args:
        model: The model; all of its operators must be known to onnxruntime.
        inputs: Its inputs.
        rng: Draws the inputs that `sample` does not give.
        sample: Input name → real data, whose dimensions are tried before any guess.
        folder: Where the external data of a model given in memory lies.

    Raises:
        ModelError: when onnxruntime cannot load the model, or no candidate size runs.
        DataError: when an input has no shape or holds text, or `sample` does not fit.
    """
    dims = dynamic_dims(inputs)
    trial = _Trial(make_session(model, optimize=False, folder=folder), inputs, sample, rng)
    found = trial.first_that_runs(_first_candidates(dims, inputs, sample))
    if found is None:
        tried = f" Tried sizes {', '.join(map(str, _SIZES))} for {', '.join(dims.other)}." if dims.other else ""
        raise ModelError(f"The model runs on none of the inputs tried.{tried} The last failure: {trial.failure}")
    sizes, first = found
    if not dims:
        return FeedPair(first, None)
    return _second(trial, dims, sizes, first)


def _first_candidates(
    dims: DynamicDims, inputs: Sequence[TensorSpec], sample: Mapping[str, AnyArray] | None
) -> Iterator[_Sizes]:
    complete = not dims.other or (sample is not None and all(i.name in sample for i in inputs))
    for batch in _BATCHES if dims.batch else (1,):
        if complete:
            yield _Sizes(batch, None)
        for size in _SIZES if dims.other else ():
            yield _Sizes(batch, size)


def _second(trial: _Trial, dims: DynamicDims, sizes: _Sizes, first: Mapping[str, AnyArray]) -> FeedPair:
    taken = {size for array in first.values() for size in array.shape[1:]} if sizes.other is None else {sizes.other}
    others = [size for size in _SIZES if size not in taken] if dims.other else []
    batches = [b for b in (3, 5, 6) if b != sizes.batch] if dims.batch else []
    attempts: list[tuple[tuple[str, ...], list[_Sizes]]] = []
    if batches and others:
        attempts.append(((), [_Sizes(b, size) for b in batches[:1] for size in others]))
    if batches:
        attempts.append((dims.other, [_Sizes(b, sizes.other) for b in batches]))
    if others:
        attempts.append((dims.batch, [_Sizes(sizes.batch, size) for size in others]))
    for unchanged, candidates in attempts:
        found = trial.first_that_runs(iter(candidates))
        if found is not None:
            return FeedPair(first, found[1], unchanged, _note(unchanged, trial.failure))
    unchanged = dims.batch + dims.other
    return FeedPair(first, None, unchanged, _note(unchanged, trial.failure))


def _note(unchanged: tuple[str, ...], failure: str) -> str:
    if not unchanged:
        return ""
    return (
        f"Dynamic dimension {', '.join(unchanged)} is treated as static: the model ran at no second size. "
        f"The last failure: {failure}"
    )
