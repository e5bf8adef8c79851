"""The same keep ratio in every group, as far as alignment allows.

The i-th best of n channels is worth −(i + ½) / n, whatever its score.
"""

from __future__ import annotations

from onnxprune.allocate.base import Problem
from onnxprune.allocate.engine import allocate, rank_worth
from onnxprune.allocate.registry import ALLOCATORS
from onnxprune.core.allocation import Allocation

__all__ = ["Uniform"]


@ALLOCATORS.register("uniform")
class Uniform:
    """One keep ratio for all groups."""

    def solve(self, problem: Problem) -> Allocation:
        """Returns the allocation; see `Allocator.solve`."""
        return allocate(problem, {group.name: rank_worth(group.size) for group in problem.groups})
