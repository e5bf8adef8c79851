"""Group by group, down to the budget (NetAdapt, Yang et al., ECCV 2018): the iterative method.

The cost falls from the original's to the limit in rounds, by the same factor each. What a round takes
is the group whose channels cost least in loss after a short training (`onnxprune.trial.descend`). A
channel is worth more the later it went, and the engine does the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from onnxprune.allocate.alignment import alignment_unit
from onnxprune.allocate.base import Problem
from onnxprune.allocate.cost_table import Counts, Floats
from onnxprune.allocate.dsa import importance_of
from onnxprune.allocate.engine import allocate, rank_worth
from onnxprune.allocate.notes import deaf_notes
from onnxprune.allocate.registry import ALLOCATORS
from onnxprune.allocate.uniform import Uniform
from onnxprune.core.allocation import Allocation
from onnxprune.core.errors import UsageError

__all__ = ["NetAdapt"]


@ALLOCATORS.register("netadapt")
class NetAdapt:
    """The group that is missed least, round after round."""

    def solve(self, problem: Problem) -> Allocation:
        """Returns the allocation; see `Allocator.solve`.

        Raises:
            UsageError: when there is nothing to learn on.
        """
        if problem.searcher is None:
            raise UsageError("--allocator netadapt learns on data. Give --data, or choose another one.")
        even = Uniform().solve(problem)
        if dict(even.kept) == problem.available:
            return even
        importances = {name: importance_of(problem, name) for name in problem.sizes}
        candidates = _Candidates(problem, problem.searcher.groups, problem.searcher.rounds)
        way = problem.searcher.descend(importances, candidates)
        found = allocate(problem, _worth(problem, way))
        deaf = deaf_notes(problem, problem.searcher.groups, "they gave up none before the others had")
        return replace(found, notes=(*deaf, *found.notes))


class _Candidates:
    """What each group would have to give up alone."""

    def __init__(self, problem: Problem, groups: tuple[str, ...], rounds: int) -> None:
        self._names = list(problem.sizes)
        self._heard = np.array([name in groups for name in self._names])
        self._units: Counts = np.array([alignment_unit(group, problem.align) for group in problem.groups])
        self._floors = problem.floors
        self._table, self._limits = problem.limited
        whole = float(self._use(problem.available).max())
        self._targets = [whole ** (1 - (number + 1) / rounds) for number in range(rounds)]

    def of_round(self, number: int, counts: Mapping[str, int]) -> dict[str, int]:
        """Returns group → channels that it would keep; where none reaches the target alone, the least each can keep."""
        target = self._targets[number]
        if float(self._use(counts).max()) <= target:
            return {}
        now = self._vector(counts)
        top: Counts = (now - 1) // self._units * self._units
        # how often a group can give up a unit below `top`, at most; -1 where it can give up nothing
        steps: Counts = np.where(top >= self._floors, (top - self._floors) // self._units, -1)
        # the least number of steps at which a group alone reaches the target; costs fall with every step
        low: Counts = np.full_like(steps, -1)
        high: Counts = steps.copy()
        while (high - low > 1).any():
            middle: Counts = np.where(high - low > 1, (low + high) // 2, high)
            fits = self._fits(now, top - middle * self._units, target)
            low, high = np.where(fits, low, middle), np.where(fits, middle, high)
        able = self._heard & (steps >= 0)
        taken: Counts = np.where(high < 0, 0, high)
        kept = top - taken * self._units
        reached = able & self._fits(now, np.maximum(kept, 1), target)
        chosen = reached if reached.any() else able
        return {self._names[i]: int(kept[i]) for i in np.flatnonzero(chosen)}

    def used(self, counts: Mapping[str, int]) -> dict[str, float]:
        """Returns resource → share of its limit."""
        return dict(zip(self._table.resources, self._use(counts).tolist(), strict=True))

    def _fits(self, now: Counts, targets: Counts, limit: float) -> NDArray[np.bool_]:
        """Whether the costs are within `limit` of theirs when a group alone has its target: bool [groups]."""
        used = self._table.alone(now, np.maximum(targets, 1)) / self._limits[:, None]
        result: NDArray[np.bool_] = used.max(axis=0) <= limit
        return result

    def _vector(self, counts: Mapping[str, int]) -> Counts:
        return np.array([counts[name] for name in self._names], dtype=np.int64)

    def _use(self, counts: Mapping[str, int]) -> Floats:
        result: Floats = self._table.cost(self._vector(counts)) / self._limits
        return result


def _worth(problem: Problem, way: list[tuple[str, int]]) -> dict[str, Floats]:
    """Worth by rank, descending: what went in round i is worth i; what stayed is worth more, all groups alike."""
    worth = {name: len(way) + 1 + rank_worth(size) for name, size in problem.sizes.items()}
    counts = dict(problem.available)
    for number, (name, kept) in enumerate(way):
        gone = counts[name] - kept
        worth[name][kept : counts[name]] = number + 1 + rank_worth(gone)
        counts[name] = kept
    return worth
