"""What an allocation has to say: where it departs from what was asked, and why."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from onnxprune.allocate.alignment import honoured
from onnxprune.allocate.base import Problem
from onnxprune.allocate.cost_table import Counts
from onnxprune.allocate.search import BAND, Search
from onnxprune.core.errors import BudgetError
from onnxprune.core.group import Group
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
    """Returns the error for limits below what one channel per group costs, and one block per tile."""
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
    return BudgetError(
        f"The budget cannot be met: {missed} is out of reach {_emptied(problem.groups)}. Reachable: {reach}. "
        f"{_advice(problem.groups)}"
    )


def _emptied(groups: Sequence[Group]) -> str:
    """Returns how little is left where most has gone."""
    layers = sum(group.unit == "block" for group in groups)
    channels = len(groups) - layers
    left = [f"one channel left in each of the {channels} prunable groups"] * bool(channels)
    left += [f"one block of inputs left to each tile of the {layers} layers that are cut into tiles"] * bool(layers)
    return f"even with {' and '.join(left)}" if left else "with nothing to prune"


def _advice(groups: Sequence[Group]) -> str:
    """Returns what to do where a budget is out of reach."""
    if _units(groups) == "channels":
        return "Ask for more, or see with `onnxprune inspect` which channels are frozen and why."
    smaller = "smaller blocks (--block), of which fewer inputs have to stay"
    if _units(groups) == "blocks":
        return f"Ask for more, for {smaller}, or for channels to go too (--pattern both)."
    return f"Ask for more, for {smaller}, or see with `onnxprune inspect` which channels are frozen and why."


def _units(groups: Sequence[Group], ending: str = "s") -> str:
    """Returns what groups keep or give up: "channels", "blocks", or both."""
    found = [unit for unit in ("channel", "block") if any(group.unit == unit for group in groups)]
    return " or ".join(unit + ending for unit in found or ["channel"])


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
            unaligned.setdefault(unit, []).append(f"{group.name} keeps {kept} of {group.size} {group.unit}s ({kind})")
        if kept < floor:
            low.append(f"{group.name} keeps {kept} of {group.size} {group.unit}s (floor {floor})")
    notes = [
        f"{_count(groups)} no multiple of {unit} channels, because such counts do not land between {percent(BAND)} "
        f"and 100 % of the {budget} budget: {'; '.join(groups)}."
        for unit, groups in unaligned.items()
    ]
    if low:
        notes.append(
            f"{_count(low)} fewer {_units(problem.groups)} than the floor, because the {budget} budget cannot be met "
            f"otherwise: {'; '.join(low)}."
        )
    if not search.in_band():
        notes.append(
            f"Only {percent(search.utilisation(search.counts))} of the {budget} budget is used: one "
            f"{_units(problem.groups, '')} more exceeds it in every group that is not complete, and no exchange "
            "that was tried comes closer."
        )
    return tuple(notes)


def _count(groups: list[str]) -> str:
    return "1 group keeps" if len(groups) == 1 else f"{len(groups)} groups keep"
