"""Closing the gap to a budget when whole units are too coarse.

`exchange` takes units from one group and gives as many as fit to another, so that no group loses its
alignment; with units of one channel it is for nets so small that single channels are too coarse.
`relax` lets units give way, all to 4 before any to 2, and the largest step that fits first:
the gap is closed with the fewest groups out of alignment, and each of them is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from onnxprune.allocate.alignment import finer
from onnxprune.allocate.cost_table import Counts, Floats
from onnxprune.allocate.search import BAND, Search

__all__ = ["exchange", "relax"]

MAX_ROUNDS = 2
MAX_TRIES = 400
# `Search.utilisation_alone` rounds; what looks full to this precision is put to the exact test
ROUNDING = 1e-9


def relax(search: Search) -> None:
    """Raises groups by finer units until the band is reached or no step fits."""
    level = search.units.copy()
    while not search.in_band() and (level > 1).any():
        level = np.array([finer(int(unit)) for unit in level], dtype=np.int64)
        _fill(search, level, level < search.units)


def _fill(search: Search, level: Counts, allowed: NDArray[np.bool_]) -> None:
    """Takes the largest step to a multiple of `level` that fits, until none does, in groups that are allowed."""
    refused = ~allowed
    while not search.in_band():
        targets = np.minimum((search.counts // level + 1) * level, search.sizes)
        shares = search.utilisation_alone(search.counts, targets)
        shares[refused | (targets == search.counts) | (shares > 1 + ROUNDING)] = -1.0
        largest = int(shares.argmax())
        if shares[largest] < 0:
            return
        refused[largest] = not search.raise_to(largest, int(targets[largest]))


def exchange(search: Search, floors: Counts, units: Counts, worth: Sequence[Floats]) -> None:
    """Takes channels from one group and gives as many as fit to another, few and unworthy ones before others.

    Of the exchanges that take the same number from the same group, the one that fills the
    budget best counts. The first that reaches the band is made, else the fullest.

    Args:
        search: Its counts are changed.
        floors: Counts that giving groups do not go below, int64 [groups].
        units: Multiples that are given and taken, int64 [groups].
        worth: For each group, the worth of its channels, descending: float64 [size].
    """
    for _ in range(MAX_ROUNDS):
        best, best_share = search.counts, search.utilisation(search.counts)
        for giver, counts in _givers(search, floors, units, worth):
            if best_share >= BAND:
                break
            candidate = _give(search, counts, giver, units)
            share = search.utilisation(candidate)
            if share > best_share and search.fits(candidate):
                best, best_share = candidate, share
        if best is search.counts:
            return
        search.counts = best
        _fill(search, units, np.ones(len(floors), dtype=np.bool_))


def _givers(search: Search, floors: Counts, units: Counts, worth: Sequence[Floats]) -> Iterator[tuple[int, Counts]]:
    """Each group that can give, with the counts after it gave 1, 2, … units."""
    for taken in range(1, 1 + max(1, MAX_TRIES // max(1, len(floors)))):
        left: Counts = ((search.counts - 1) // units - taken + 1) * units
        able = np.flatnonzero(left >= floors)
        lost = [float(worth[giver][int(left[giver]) : int(search.counts[giver])].sum()) for giver in able.tolist()]
        for giver in able[np.argsort(lost, kind="stable")].tolist():
            counts = search.counts.copy()
            counts[giver] = left[giver]
            yield giver, counts


def _give(search: Search, counts: Counts, giver: int, units: Counts) -> Counts:
    """The counts after the one other group that fills the budget best took as many units as fit."""

    def after(steps: Counts) -> Counts:
        return np.where(steps > 0, np.minimum((counts // units + steps) * units, search.sizes), counts)

    low: Counts = np.zeros_like(counts)
    high: Counts = -(-search.sizes // units) - counts // units
    high[giver] = 0
    while (low < high).any():
        middle = (low + high + 1) // 2
        fits = search.utilisation_alone(counts, after(middle)) <= 1 + ROUNDING
        low, high = np.where(fits, middle, low), np.where(fits, high, middle - 1)
    taken = after(low)
    taker = int(search.utilisation_alone(counts, taken).argmax())
    candidate = counts.copy()
    candidate[taker] = taken[taker]
    return candidate
