"""The allocator that is taken when none is asked for, by what there is to go by.

- Data to learn on: `dsa`, whose keep ratios learn on the loss itself.
- A latency budget, and scores that are losses: `knapsack`. Time does not fall evenly with channels, and
  only who weighs what a count saves against what it loses makes use of that; a ranking does not.
- Else `global`.

docs/allocators.md and docs/budgets.md hold the measurements behind this.
"""

from __future__ import annotations

from onnxprune.allocate.base import Problem

__all__ = ["preferred_allocator"]


def preferred_allocator(problem: Problem) -> tuple[str, str]:
    """Returns the name of an allocator, and what it does, to follow the name in a sentence."""
    if problem.searcher is not None:
        return "dsa", "whose keep ratios learn on the data"
    if "latency" in problem.limits and problem.unit == "loss":
        return "knapsack", "which weighs the time that channels take against what the outputs lose with them"
    return "global", "one threshold over what channels are worth within their groups"
