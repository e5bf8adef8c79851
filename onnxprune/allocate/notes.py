"""What an allocation has to say: where it departs from what was asked, and why."""

from __future__ import annotations

from collections.abc import Collection

from onnxprune.allocate.alignment import honoured
from onnxprune.allocate.base import Problem
from onnxprune.allocate.cost_table import Counts
from onnxprune.allocate.search import BAND, Search
from onnxprune.core.errors import BudgetError
from onnxprune.cost.human import human_cost, percent
from onnxprune.cost.reachable import reachable_range

__all__ = ["allocation_notes", "deaf_notes", "generous_notes", "infeasible"]

_SHOWN = 3


def generous_notes(problem: Problem) -> tuple[str, ...]:
    """Returns one sentence per limit that is above what the original costs."""
    notes = []
    for resource, limit in problem.limits.items():
        original = float(problem.costs[resource](problem.sizes))
        if limit > original * (1 + 1e-9):
            notes.append(
                f"The {resource} budget of {human_cost(resource, limit)} is above what the model costs "
                f"({human_cost(resource, original)}): nothing has to go."
            )
    return tuple(notes)


def infeasible(problem: Problem) -> BudgetError:
    """Returns the error for limits below what one channel per group costs."""
    ranges = reachable_range(problem.costs, problem.sizes)
    failed = [r for r, limit in problem.limits.items() if ranges[r].lowest > limit]
    missed = "; ".join(
        f"{r} of {human_cost(r, problem.limits[r])} ({percent(problem.limits[r] / ranges[r].original)} of the original)"
        for r in failed
    )
    reach = "; ".join(
        f"{r} {percent(ranges[r].lowest_share)} to 100 % "
        f"({human_cost(r, ranges[r].lowest)} to {human_cost(r, ranges[r].original)})"
        for r in ranges
    )
    groups = len(problem.groups)
    why = f"even with one channel left in each of the {groups} prunable groups" if groups else "with nothing to prune"
    return BudgetError(
        f"The budget cannot be met: {missed} is out of reach {why}. Reachable: {reach}. "
        "Ask for more, or see with `onnxprune inspect` which channels are frozen and why."
    )


def deaf_notes(problem: Problem, heard: Collection[str], fate: str) -> tuple[str, ...]:
    """Returns a sentence that names the groups which a search could not try out.

    Args:
        problem: Holds all groups.
        heard: Those that could be.
        fate: What became of the others, to end the sentence with.
    """
    deaf = [name for name in problem.sizes if name not in heard]
    if not deaf:
        return ()
    shown = ", ".join(deaf[:_SHOWN]) + (f" and {len(deaf) - _SHOWN} more" if len(deaf) > _SHOWN else "")
    return (f"No weight could be found at which channels of {shown} can be switched off for a trial; {fate}.",)


def allocation_notes(problem: Problem, search: Search, units: Counts, floors: Counts) -> tuple[str, ...]:
    """Returns what departs from the wishes: groups out of alignment or below their floor, a missed band."""
    budget = " and ".join(problem.limits)
    unaligned: dict[int, list[str]] = {}
    low: list[str] = []
    for group, kept, unit, floor in zip(
        problem.groups, search.counts.tolist(), units.tolist(), floors.tolist(), strict=True
    ):
        found = honoured(kept, group.size, unit)
        if found < unit:
            kind = f"a multiple of {found}" if found > 1 else "not aligned"
            unaligned.setdefault(unit, []).append(f"{group.name} keeps {kept} of {group.size} channels ({kind})")
        if kept < floor:
            low.append(f"{group.name} keeps {kept} of {group.size} channels (floor {floor})")
    notes = [
        f"{_count(groups)} no multiple of {unit} channels, because such counts do not land between {percent(BAND)} "
        f"and 100 % of the {budget} budget: {'; '.join(groups)}."
        for unit, groups in unaligned.items()
    ]
    if low:
        notes.append(
            f"{_count(low)} fewer channels than the floor, because the {budget} budget cannot be met otherwise: "
            f"{'; '.join(low)}."
        )
    if not search.in_band():
        notes.append(
            f"Only {percent(search.utilisation(search.counts))} of the {budget} budget is used: one channel more "
            "exceeds it in every group that is not complete, and no exchange that was tried comes closer."
        )
    return tuple(notes)


def _count(groups: list[str]) -> str:
    return "1 group keeps" if len(groups) == 1 else f"{len(groups)} groups keep"
