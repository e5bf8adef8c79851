"""From the worth of every channel to kept counts that hold all budgets.

    1. Start at the floors, aligned to 8, or 4, 2, 1 where that does not fit; where even the
       floors do not, at one channel per group and as close to the floors as fits.
    2. Climb: add channels a unit at a time, most worthy first, as far as the budget goes;
       then fill up with what still fits until 98 % of it are used.
    3. Where this does not reach 98 %: exchange whole units between groups, relax units, then
       exchange channels.

An allocator only has to say what channels are worth. A smaller budget never ends at a higher
cost than a larger one (see `search`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from onnxprune.allocate.alignment import alignment_unit, finer, honoured
from onnxprune.allocate.base import Problem
from onnxprune.allocate.climb import climb
from onnxprune.allocate.cost_table import Counts, Floats
from onnxprune.allocate.notes import allocation_notes, generous_notes, infeasible
from onnxprune.allocate.refine import exchange, relax
from onnxprune.allocate.search import Search
from onnxprune.core.allocation import Allocation

__all__ = ["allocate", "counts_worth", "rank_worth"]


def rank_worth(size: int) -> Floats:
    """Returns the worth that makes every group keep the same share: float64 [size], descending."""
    return -(np.arange(size) + 0.5) / size


def counts_worth(problem: Problem, counts: Counts | Floats) -> dict[str, Floats]:
    """Returns the worth that brings all groups to `counts`, whole or fractional, [groups], together.

    The i-th of the channels of a group that is to keep m is worth −(i + ½) / m.
    """
    return {
        name: rank_worth(size) * size / max(wanted, 1e-9)
        for (name, size), wanted in zip(problem.sizes.items(), counts.tolist(), strict=True)
    }


def allocate(problem: Problem, worth: Mapping[str, NDArray[np.float64]]) -> Allocation:
    """Returns kept counts that hold every limit and use at least 98 % of the binding one.

    Where channels are too coarse for the 98 %, the fullest allocation found is returned, with
    a note.

    Args:
        problem: Groups, costs and limits.
        worth: Group name → worth of its channels in any order, float64 [size]; comparable
            between groups. The most worthy are added first.

    Raises:
        BudgetError: when even one channel per group costs more than a limit.
    """
    search = Search(*problem.limited, problem.available)
    if search.jump(search.sizes):
        return _allocation(problem, search, worth, generous_notes(problem))
    if not search.fits(search.counts):
        raise infeasible(problem)
    units = np.array([alignment_unit(group, problem.align) for group in problem.groups], dtype=np.int64)
    floors = np.minimum(_floors(problem, units), search.sizes)
    _start(search, units, floors)
    search.units = units.copy()
    sorted_worth = [-np.sort(-worth[group.name]) for group in problem.groups]
    climb(search, sorted_worth, search.sizes, floors)
    if (search.units > 1).any():
        exchange(search, floors, search.units, sorted_worth)
    relax(search)
    exchange(search, floors, np.ones_like(units), sorted_worth)
    return _allocation(problem, search, worth, allocation_notes(problem, search, units, floors))


def _floors(problem: Problem, units: Counts) -> Counts:
    """The counts that stay if possible: the problem's floors, rounded down to a unit if they hold one."""
    floors = problem.floors
    result: Counts = np.where(floors >= units, floors // units * units, floors)
    return result


def _start(search: Search, units: Counts, floors: Counts) -> None:
    """Moves to the floors, rounded up to the coarsest units that fit; else evenly towards them."""
    level = units
    while not search.jump(np.minimum(-(-floors // level) * level, search.sizes)):
        if (level == 1).all():
            search.units = units.copy()
            climb(search, [rank_worth(int(size)) for size in search.sizes], floors, floors)
            return
        level = np.array([finer(int(unit)) for unit in level], dtype=np.int64)


def _allocation(
    problem: Problem, search: Search, worth: Mapping[str, NDArray[np.float64]], notes: tuple[str, ...]
) -> Allocation:
    kept = dict(zip(problem.sizes, search.counts.tolist(), strict=True))
    return Allocation(
        kept=kept,
        cost={resource: float(cost(kept)) for resource, cost in problem.costs.items()},
        limit=dict(problem.limits),
        alignment={
            group.name: honoured(kept[group.name], group.size, alignment_unit(group, problem.align))
            for group in problem.groups
        },
        notes=notes,
        worth=worth,
    )
