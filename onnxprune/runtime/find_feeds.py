"""Two sets of inputs on which a model runs, every dynamic dimension different in the second.

What a graph computes with its dynamic dimensions (a Reshape to 7 × 7, a stride, a window)
decides which sizes it takes, and no rule predicts it: sizes are tried until one runs. A
tensor axis that is equal in both runs is then static.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onnxprune.core.errors import ModelError
from onnxprune.graph import Model, TensorSpec
from onnxprune.runtime.feeds import DynamicDims, choose_feeds, dynamic_dims, symbol_sizes
from onnxprune.runtime.runner import Runner
from onnxprune.runtime.session import ModelSource, make_session, run
from onnxprune.runtime.values import AnyArray

__all__ = ["FeedPair", "find_feeds"]

Sizes = Mapping[str, int]

_BATCHES = (2, 1, 4, 8)
_OTHER_BATCHES = (3, 5, 6)
_SIZES = (32, 64, 224, 16, 8, 128, 4, 256, 2, 512)
_FEW_SIZES = (32, 16, 8, 64, 1, 4)
_SPLITS = ((16, 8), (12, 5), (16, 1), (12, 1))  # a cache and what is new
_INTEGERS = ((0, 2), (1, 2), (0, 1), (2, 3))
_MOST_TRIALS = 60


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


@dataclass
class _Trial:
    """Runs a model on candidate sizes and remembers what the last one that failed said."""

    run: Callable[[Mapping[str, AnyArray]], object]
    inputs: Sequence[TensorSpec]
    sample: Mapping[str, AnyArray] | None
    rng: np.random.Generator
    integers: tuple[int, int] = _INTEGERS[0]
    failure: str = ""

    def first_that_runs(self, candidates: Iterable[Sizes]) -> dict[str, AnyArray] | None:
        for sizes in candidates:
            feeds = choose_feeds(
                self.inputs,
                batch=1,
                other=None,
                rng=self.rng,
                sample=self.sample,
                sizes=sizes,
                integers=self.integers,
            )
            try:
                self.run(feeds)
            except ModelError as error:
                self.failure = str(error)
                continue
            return feeds
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
    trial = _Trial(_runs(model, folder), inputs, sample, rng)
    first = _first(trial, dims)
    if first is None:
        tried = f" Tried sizes {', '.join(map(str, _SIZES))} for {', '.join(dims.other)}." if dims.other else ""
        raise ModelError(f"The model runs on none of the inputs tried.{tried} The last failure: {trial.failure}")
    if not dims:
        return FeedPair(first, None)
    return _second(trial, dims, first)


def _runs(model: ModelSource, folder: Path | None) -> Callable[[Mapping[str, AnyArray]], object]:
    if isinstance(model, Model):
        return Runner(model).run
    session = make_session(model, optimize=False, folder=folder)
    return lambda feeds: run(session, feeds)


def _first(trial: _Trial, dims: DynamicDims) -> dict[str, AnyArray] | None:
    """Returns inputs on which the model runs; integers are drawn from small ranges first."""
    sample = trial.sample or {}
    complete = not dims.other or (bool(sample) and all(spec.name in sample for spec in trial.inputs))
    drawn = any(s.dtype is not None and s.dtype.kind in "iu" and s.name not in sample for s in trial.inputs)
    for trial.integers in _INTEGERS if drawn else _INTEGERS[:1]:
        real = (dict.fromkeys(dims.batch, batch) for batch in _BATCHES) if complete else ()
        found = trial.first_that_runs(real) or trial.first_that_runs(_candidates(dims, _BATCHES))
        if found is not None:
            return found
    return None


def _candidates(dims: DynamicDims, batches: Sequence[int], *, mixed: bool = True) -> Iterator[Sizes]:
    """Yields sizes for every symbol: all alike, then, where mixed, one the sum of two others or one unlike the rest."""
    if not dims.other:
        yield from (dict.fromkeys(dims.batch, batch) for batch in (batches if dims.batch else (1,)))
        return
    for batch in batches if dims.batch else (1,):
        rows = dict.fromkeys(dims.batch, batch)
        for size in _SIZES:
            yield rows | dict.fromkeys(dims.other, size)
        if mixed:
            yield from (rows | sizes for sizes in _sums(dims.other))
        yield rows | dict.fromkeys(dims.other, 1)  # late, as ones fit everything by broadcasting
    rows = dict.fromkeys(dims.batch, batches[0])
    for name in dims.other if mixed and len(dims.other) > 1 else ():
        for size, rest in itertools.permutations(_FEW_SIZES, 2):
            yield rows | dict.fromkeys(dims.other, rest) | {name: size}


def _sums(symbols: Sequence[str]) -> Iterator[dict[str, int]]:
    """Yields sizes where one symbol is the sum of two others, or one more than another (keys of a cache)."""
    totals = sorted(symbols, key=lambda name: "total" not in name)  # stable: others keep their order
    for (past, new), whole in itertools.product(_SPLITS, totals):
        rest = [name for name in symbols if name != whole]
        for part in rest:
            others = dict.fromkeys(rest, new)
            yield others | {part: past, whole: past + (new if len(rest) > 1 else 1)}


def _second(trial: _Trial, dims: DynamicDims, first: Mapping[str, AnyArray]) -> FeedPair:
    """Returns the pair: everything changed at once where that runs, else as much as does."""
    before = symbol_sizes(trial.inputs, first)
    # drawn anew throughout: rows of a sample fit the sizes that it has
    mixed = len({before[name] for name in dims.other}) > 1
    candidates = _candidates(dims, _OTHER_BATCHES, mixed=mixed)
    changed = (sizes for sizes in candidates if all(sizes[name] != before[name] for name in sizes))
    found = trial.first_that_runs(itertools.islice(changed, _MOST_TRIALS))
    if found is None:
        found = _step_by_step(trial, dims, before)
    after = before if found is None else symbol_sizes(trial.inputs, found)
    unchanged = tuple(name for name in (*dims.batch, *dims.other) if after[name] == before[name])
    return FeedPair(first, found, unchanged, _note(unchanged, trial.failure))


def _step_by_step(trial: _Trial, dims: DynamicDims, before: Sizes) -> dict[str, AnyArray] | None:
    """Changes batch and other dimensions together, then each alone, and keeps every change that runs."""
    sizes, found = dict(before), None
    for names in dict.fromkeys([dims.batch, dims.other, *((name,) for name in before)]):
        if any(sizes[name] != before[name] for name in names):
            continue
        options = _OTHER_BATCHES if set(names) <= set(dims.batch) else _SIZES
        candidates = [sizes | dict.fromkeys(names, n) for n in options if all(n != before[name] for name in names)]
        feeds = trial.first_that_runs(candidates) if names else None
        if feeds is not None:
            sizes, found = symbol_sizes(trial.inputs, feeds), feeds
    return found


def _note(unchanged: tuple[str, ...], failure: str) -> str:
    if not unchanged:
        return ""
    return (
        f"Dynamic dimension {', '.join(unchanged)} is treated as static: the model ran at no second size. "
        f"The last failure: {failure}"
    )
