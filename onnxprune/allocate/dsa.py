"""Differentiable sparsity allocation (Ning et al., "DSA", ECCV 2020): keep ratios by gradient.

The ratios learn on data together with the weights (`onnxprune.trial.search`), within the budgets
(`onnxprune.allocate.ratios`). What the search gives is ratios: which channels stay is a matter of
their scores, and counts are rounded as those of every allocator.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from onnxprune.allocate.base import Problem
from onnxprune.allocate.cost_table import Floats
from onnxprune.allocate.engine import allocate, counts_worth
from onnxprune.allocate.notes import deaf_notes
from onnxprune.allocate.project import Budgets
from onnxprune.allocate.ratios import make_ratios
from onnxprune.allocate.registry import ALLOCATORS
from onnxprune.allocate.uniform import Uniform
from onnxprune.core.allocation import Allocation
from onnxprune.core.errors import UsageError

__all__ = ["Dsa", "importance_of"]


@ALLOCATORS.register("dsa")
class Dsa:
    """Keep ratios by gradient, weights and ratios learning in turn."""

    def solve(self, problem: Problem) -> Allocation:
        """Returns the allocation; see `Allocator.solve`.

        Raises:
            UsageError: when there is nothing to learn on.
        """
        if problem.searcher is None:
            raise UsageError("--allocator dsa learns keep ratios on data. Give --data, or choose another one.")
        even = Uniform().solve(problem)
        if dict(even.kept) == problem.available:
            return even
        left = np.array(list(problem.available.values()), dtype=np.int64)
        table, limits = problem.limited
        budgets = Budgets(table, left, limits)
        heard = np.array([name in problem.searcher.groups for name in problem.sizes])
        ratios = make_ratios(problem.searcher.constraint, budgets, np.minimum(problem.floors / left, 1.0), heard)
        importances = {name: importance_of(problem, name) for name in problem.sizes}
        record = problem.searcher.search(importances, ratios)
        found = allocate(problem, counts_worth(problem, ratios.values * left))
        deaf = deaf_notes(problem, problem.searcher.groups, "their ratio went with that of the others")
        return replace(found, search=record, notes=(*deaf, *found.notes))


def importance_of(problem: Problem, name: str) -> Floats:
    """Returns the importance of each channel of a group, float64 [size], below zero where it is gone."""
    scores = problem.scores[name]
    # a loss of second order goes with the square of what is lost
    found = np.sqrt(np.maximum(scores, 0.0)) if problem.unit == "loss" else np.maximum(scores, 0.0)
    found[np.argsort(-scores, kind="stable")[problem.available[name] :]] = -1.0
    return found
