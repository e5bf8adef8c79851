"""Always the channels whose loss is least for what they cost.

From the whole model down, the next block of channels to go is the one with the least

    Δloss / Δcost,   Δcost = Σ_r (fall of resource r) / (resource r of the whole model)

over the limited resources r, until every group stands at one channel; Δloss is the sum of the
block's scores, so this wants scores in loss units (taylor, fisher). The order does not depend on
the limits. What goes later is worth more, and the engine does the rest.
"""

from __future__ import annotations

import heapq

import numpy as np

from onnxprune.allocate.alignment import alignment_unit
from onnxprune.allocate.base import Problem
from onnxprune.allocate.cost_table import CostTable, Counts, Floats
from onnxprune.allocate.engine import allocate
from onnxprune.allocate.registry import ALLOCATORS
from onnxprune.core.allocation import Allocation

__all__ = ["Greedy"]

_BLOCKS = 32  # of one group, at most


@ALLOCATORS.register("greedy")
class Greedy:
    """The least loss per cost first."""

    def solve(self, problem: Problem) -> Allocation:
        """Returns the allocation; see `Allocator.solve`."""
        return allocate(problem, _Descent(problem).worth())


class _Descent:
    """The way down from the whole model, and when each channel went."""

    def __init__(self, problem: Problem) -> None:
        self.names = [group.name for group in problem.groups]
        self.table = CostTable(self.names, {resource: problem.costs[resource] for resource in problem.limits})
        self.sizes: Counts = np.array([group.size for group in problem.groups], dtype=np.int64)
        self.counts: Counts = self.sizes.copy()
        self.steps = [_step(group.size, alignment_unit(group, problem.align)) for group in problem.groups]
        # loss[n]: what the n least worthy channels of a group add up to
        self.losses = [np.append(0.0, np.cumsum(np.sort(problem.scores[name]))) for name in self.names]
        whole = self.table.cost(self.sizes)
        self.per_resource = np.divide(1.0, whole, out=np.zeros_like(whole), where=whole > 0)

    def worth(self) -> dict[str, Floats]:
        """Returns group → worth, ascending: the number of the block that a channel went in; the last is worth most."""
        worth = [np.zeros(size) for size in self.sizes]
        waiting = [(self._price(group), group) for group in range(len(self.names)) if self.counts[group] > 1]
        heapq.heapify(waiting)
        number = 0
        while waiting:
            _, group = heapq.heappop(waiting)
            price = self._price(group)
            # prices only rise while others shrink, so one that is still the least is the least
            if waiting and (price, group) > waiting[0]:
                heapq.heappush(waiting, (price, group))
                continue
            count, target = int(self.counts[group]), self._target(group)
            size = int(self.sizes[group])
            worth[group][size - count : size - target] = number
            self.counts[group] = target
            number += 1
            if target > 1:
                heapq.heappush(waiting, (self._price(group), group))
        for group in range(len(self.names)):
            worth[group][-1] = number
        return dict(zip(self.names, worth, strict=True))

    def _target(self, group: int) -> int:
        step = self.steps[group]
        return max(1, (int(self.counts[group]) - 1) // step * step)

    def _price(self, group: int) -> float:
        count, target, size = int(self.counts[group]), self._target(group), int(self.sizes[group])
        loss = float(self.losses[group][size - target] - self.losses[group][size - count])
        fall = float(self.per_resource @ self.table.fall(self.counts, group, target))
        return loss / fall if fall > 0 else np.inf


def _step(size: int, unit: int) -> int:
    return unit * max(1, -(-size // (unit * _BLOCKS)))
