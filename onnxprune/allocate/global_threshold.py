"""One threshold over the scores of all groups.

A channel is worth its score. Criteria normalise scores within each group, so that a group
gives up many channels where their scores are uneven and few where they are alike.
"""

from __future__ import annotations

from onnxprune.allocate.base import Problem
from onnxprune.allocate.engine import allocate
from onnxprune.allocate.registry import ALLOCATORS
from onnxprune.core.allocation import Allocation

__all__ = ["GlobalThreshold"]


@ALLOCATORS.register("global")
class GlobalThreshold:
    """One threshold for all channels."""

    def solve(self, problem: Problem) -> Allocation:
        """Returns the allocation; see `Allocator.solve`."""
        return allocate(problem, problem.scores)
