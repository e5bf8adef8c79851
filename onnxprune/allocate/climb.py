"""Adding channels in the order of their worth, a unit at a time, while they fit.

With a group's channels sorted by worth v_0 ≥ v_1 ≥ …, the step from n to m channels is worth
mean(v_n … v_{m-1}), so steps of one group come in order and the steps of all groups merge into
one sequence that does not depend on the budget. For unit steps and worth −(i + ½) / size this
rounds one common keep ratio to the nearest multiple.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np

from onnxprune.allocate.alignment import finer
from onnxprune.allocate.cost_table import Counts, Floats
from onnxprune.allocate.search import Search

__all__ = ["climb"]


def climb(search: Search, worth: Sequence[Floats], ceilings: Counts, floors: Counts) -> None:
    """Raises counts step by step until no step fits or the budget band is reached.

    A group that is refused a step takes a finer unit at once where it stands between multiples,
    so that alignment has nothing to lose, or below its floor.

    Args:
        search: Where to start; its counts and units are changed.
        worth: For each group, the worth of its channels, descending: float64 [size].
        ceilings: Counts not to exceed, int64 [groups].
        floors: Counts that matter more than alignment, int64 [groups].
    """
    if search.in_band():
        return
    totals = [np.concatenate(([0.0], np.cumsum(v))) for v in worth]
    _take_prefix(search, totals, ceilings)
    waiting: list[tuple[float, int]] = []

    def push(group: int) -> None:
        count = int(search.counts[group])
        if count < ceilings[group]:
            target = _next(count, int(search.units[group]), int(ceilings[group]))
            heapq.heappush(waiting, (-_mean(totals[group], count, target), group))

    for group in range(len(ceilings)):
        push(group)
    while waiting and not search.in_band():
        _, group = heapq.heappop(waiting)
        count, unit = int(search.counts[group]), int(search.units[group])
        if search.raise_to(group, _next(count, unit, int(ceilings[group]))):
            push(group)
        elif unit > 1 and (count % unit or count < floors[group]):
            search.units[group] = finer(unit)
            push(group)


def _next(count: int, unit: int, ceiling: int) -> int:
    return min((count // unit + 1) * unit, ceiling)


def _mean(totals: Floats, start: int, stop: int) -> float:
    return float((totals[stop] - totals[start]) / (stop - start))


def _take_prefix(search: Search, totals: Sequence[Floats], ceilings: Counts) -> None:
    """Takes the longest run of steps that fits as a whole, by bisection.

    Costs only rise along the sequence, so this is where taking the steps one by one would
    first be refused.
    """
    keys: list[Floats] = []
    stops: list[Counts] = []
    for total, count, unit, ceiling in zip(totals, search.counts, search.units, ceilings, strict=True):
        edges = np.arange((count // unit + 1) * unit, ceiling, unit)
        stop = np.append(edges, ceiling) if count < ceiling else edges[:0]
        start = np.append(count, stop[:-1])[: len(stop)]
        value = (total[stop] - total[start]) / (stop - start)
        keys.append(-np.minimum.accumulate(value) if len(value) else value)  # rounding must not swap steps
        stops.append(stop)
    group = np.repeat(np.arange(len(stops)), [len(s) for s in stops])
    order = np.argsort(np.concatenate(keys), kind="stable") if keys else np.array([], dtype=np.intp)
    steps = np.concatenate(stops)[order] if stops else order
    group = group[order]

    def after(taken: int) -> Counts:
        counts = search.counts.copy()
        np.maximum.at(counts, group[:taken], steps[:taken])
        return counts

    low, high = 0, len(order)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if search.fits(after(middle)) else (low, middle - 1)
    search.counts = after(low)
