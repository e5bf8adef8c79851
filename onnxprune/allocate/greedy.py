"""Always the channels whose loss is least for what they cost.

From the whole model down, the next block of channels to go is the one with the least

    Δloss / Δcost,   Δcost = Σ_r (fall of resource r) / (resource r of the whole model)

over the limited resources r, until every group stands at one channel; Δloss is the sum of the
block's scores, so this wants scores in loss units (taylor, fisher). The order does not depend on
the limits. What goes later is worth more, and the engine does the rest.
"""

from __future__ import annotations

import numpy as np

from onnxprune.allocate.alignment import alignment_unit
from onnxprune.allocate.base import Problem
from onnxprune.allocate.cost_table import Counts, Floats
from onnxprune.allocate.engine import allocate
from onnxprune.allocate.registry import ALLOCATORS
from onnxprune.core.allocation import Allocation

__all__ = ["Greedy"]

_BLOCKS = (8, 64)  # of one group, at least and at most
_STEPS = 1_000  # of all groups, about


@ALLOCATORS.register("greedy")
class Greedy:
    """The least loss per cost first."""

    def solve(self, problem: Problem) -> Allocation:
        """Returns the allocation; see `Allocator.solve`."""
        return allocate(problem, _Descent(problem).worth())


class _Descent:
    """The way down from the whole model, and when each channel went."""

    def __init__(self, problem: Problem) -> None:
        table, _ = problem.limited
        names = list(problem.sizes)
        self.sizes: Counts = np.array(list(problem.sizes.values()), dtype=np.int64)
        whole = table.cost(self.sizes)
        weight = np.divide(1.0, whole, out=np.zeros_like(whole), where=whole > 0)
        self.table, self.weight = table, weight
        self.names, longest = names, int(self.sizes.max(initial=1))
        blocks = max(_BLOCKS[0], min(_BLOCKS[1], _STEPS // max(1, len(names))))
        units = [alignment_unit(group, problem.align) for group in problem.groups]
        self.steps: Counts = np.array(
            [unit * max(1, -(-size // (unit * blocks))) for unit, size in zip(units, self.sizes.tolist(), strict=True)],
            dtype=np.int64,
        )
        # losses[g, n]: what the n least worthy channels of a group add up to
        self.losses = np.zeros((len(names), longest + 1))
        for row, name in enumerate(names):
            self.losses[row, 1 : 1 + self.sizes[row]] = np.cumsum(np.sort(problem.scores[name]))

    def worth(self) -> dict[str, Floats]:
        """Returns group → worth, ascending: the number of the block that a channel went in; the last is worth most."""
        worth = [np.zeros(size) for size in self.sizes]
        counts, rows, number = self.sizes.copy(), np.arange(len(self.sizes)), 0
        while (counts > 1).any():
            targets = np.maximum(1, (counts - 1) // self.steps * self.steps)
            loss = self.losses[rows, self.sizes - targets] - self.losses[rows, self.sizes - counts]
            fall = self.weight @ (self.table.cost(counts)[:, None] - self.table.alone(counts, targets))
            price = np.divide(loss, fall, out=np.full(len(rows), np.finfo(np.float64).max), where=fall > 0)
            group = int(np.where(counts > 1, price, np.inf).argmin())
            size = int(self.sizes[group])
            worth[group][size - counts[group] : size - targets[group]] = number
            counts[group] = targets[group]
            number += 1
        for each in worth:
            each[-1] = number
        return dict(zip(self.names, worth, strict=True))
