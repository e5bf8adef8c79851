"""The most worthy levels that fit (after HALP, Shen et al., NeurIPS 2022): a knapsack over groups.

A group's level is how many of its best channels it keeps. Its value is the sum of their scores, and
its cost is what the model would cost if this group alone went there from the present counts. One level
of each group is chosen by an integer program,

    maximise Σ_g value_g(level_g)   subject to   cost(now) + Σ_g Δcost_g(level_g) ≤ limit  for each resource,

exactly for costs that are sums over groups. A cost that multiplies the counts of neighbours is not, so
the tables are made anew where the choice leads, with levels near the present ones only, until it
stays. The engine rounds to what the budgets really allow.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from onnxprune.allocate.alignment import alignment_unit
from onnxprune.allocate.base import Problem
from onnxprune.allocate.cost_table import Counts, Floats
from onnxprune.allocate.engine import allocate, counts_worth
from onnxprune.allocate.registry import ALLOCATORS
from onnxprune.allocate.uniform import Uniform
from onnxprune.core.allocation import Allocation

__all__ = ["Knapsack"]

_LEVELS = 16
_REACH = 0.35
_ROUNDS = 12
_GAP = 1e-3
_NODES = 2_000


@ALLOCATORS.register("knapsack")
class Knapsack:
    """One level of each group, the best sum of scores that fits."""

    def solve(self, problem: Problem) -> Allocation:
        """Returns the allocation; see `Allocator.solve`."""
        even = Uniform().solve(problem)
        if dict(even.kept) == problem.available:
            return even
        counts = _Levels(problem).chosen(np.array(list(even.kept.values()), dtype=np.int64))
        return allocate(problem, counts_worth(problem, counts))


class _Levels:
    """The integer programs of one problem."""

    def __init__(self, problem: Problem) -> None:
        self._table, self._limits = problem.limited
        self._values = [
            np.concatenate(([0.0], np.cumsum(np.sort(np.maximum(problem.scores[name], 0.0))[::-1])))
            for name in problem.sizes
        ]
        self._levels = [
            _spread(alignment_unit(group, problem.align), floor, left)
            for group, floor, left in zip(
                problem.groups, problem.floors.tolist(), problem.available.values(), strict=True
            )
        ]

    def chosen(self, counts: Counts) -> Counts:
        """Returns counts that the program chooses again where it starts from them, or the last ones tried."""
        reach = _REACH
        for _ in range(_ROUNDS):
            found = self._program(counts, reach)
            if found is None or (found == counts).all():
                break
            counts = found
            reach *= 0.8  # what swings between two choices comes to rest
        return counts

    def _program(self, now: Counts, reach: float) -> Counts | None:
        """Returns the best counts near `now`; None where no choice fits."""
        near = [
            levels[(levels >= (1 - reach) * n - 1e-9) & (levels <= n / (1 - reach) + 1e-9)]
            for levels, n in zip(self._levels, now.tolist(), strict=True)
        ]
        near = [
            levels if len(levels) else np.array([n], dtype=np.int64)
            for levels, n in zip(near, now.tolist(), strict=True)
        ]
        counts = np.concatenate(near)
        group = np.repeat(np.arange(len(near)), [len(levels) for levels in near])
        values = np.array([self._values[g][n] for g, n in zip(group.tolist(), counts.tolist(), strict=True)])
        one_each = csr_array((np.ones(len(counts)), (group, np.arange(len(counts)))), shape=(len(near), len(counts)))
        room = 1.0 - self._table.cost(now) / self._limits
        found = milp(
            -values / max(float(values.max()), 1e-300),
            integrality=np.ones(len(counts)),
            bounds=Bounds(0, 1),
            constraints=[
                LinearConstraint(one_each, 1, 1),
                LinearConstraint(self._changes(now, near), -np.inf, room),
            ],
            options={"mip_rel_gap": _GAP, "node_limit": _NODES},
        )
        if found.x is None:
            return None
        taken = np.flatnonzero(found.x > 0.5)
        result = now.copy()
        result[group[taken]] = counts[taken]
        return result

    def _changes(self, now: Counts, near: list[NDArray[np.int64]]) -> Floats:
        """Change of each cost over its limit when one group alone goes to one of its levels: [resources, levels]."""
        longest = max(len(levels) for levels in near)
        before = self._table.cost(now)[:, None]
        columns = []
        for place in range(longest):
            targets = np.array([levels[min(place, len(levels) - 1)] for levels in near], dtype=np.int64)
            columns.append((self._table.alone(now, targets) - before) / self._limits[:, None])
        grid = np.stack(columns, axis=2)  # [resources, groups, places]
        picked = [grid[:, g, : len(levels)] for g, levels in enumerate(near)]
        result: Floats = np.concatenate(picked, axis=1)
        return result


def _spread(unit: int, floor: int, size: int) -> NDArray[np.int64]:
    """Levels of a group: multiples of its unit from the floor on, some of them where there are many, and all of it."""
    steps = np.arange(-(-floor // unit), size // unit + 1) * unit
    levels = np.unique(np.append(steps[steps <= size], size)).astype(np.int64)
    if len(levels) > _LEVELS:
        picked = np.unique(np.round(np.geomspace(1, len(levels), _LEVELS)).astype(np.int64)) - 1
        levels = levels[picked]
    return levels
