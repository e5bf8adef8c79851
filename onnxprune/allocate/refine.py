"""Closing the gap to a budget when whole units are too coarse.

`relax` lets units give way, all to 4 before any to 2, and the largest step that fits first:
the gap is closed with the fewest groups out of alignment, and each of them is needed.
`exchange` is for nets so small that single channels are too coarse.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from onnxprune.allocate.alignment import finer
from onnxprune.allocate.cost_table import Counts
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


def exchange(search: Search, floors: Counts) -> None:
    """Takes channels from one group and gives as many as fit to another, few before many.

    Of the exchanges that take the same number from the same group, the one that fills the
    budget best counts. The first that reaches the band is made, else the fullest.

    Args:
        search: Its counts are changed.
        floors: Counts that giving groups do not go below, int64 [groups].
    """
    for _ in range(MAX_ROUNDS):
        best, best_share = search.counts, search.utilisation(search.counts)
        for giver, counts in _givers(search, floors):
            if best_share >= BAND:
                break
            candidate = _give(search, counts, giver)
            share = search.utilisation(candidate)
            if share > best_share and search.fits(candidate):
                best, best_share = candidate, share
        if best is search.counts:
            return
        search.counts = best
        _fill(search, np.ones_like(floors), np.ones(len(floors), dtype=np.bool_))


def _givers(search: Search, floors: Counts) -> Iterator[tuple[int, Counts]]:
    """Each group that can give, with the counts after it gave 1, 2, … channels."""
    for taken in range(1, 1 + max(1, MAX_TRIES // max(1, len(floors)))):
        able = np.flatnonzero(search.counts - taken >= floors)
        for giver in able.tolist():
            counts = search.counts.copy()
            counts[giver] -= taken
            yield giver, counts


def _give(search: Search, counts: Counts, giver: int) -> Counts:
    """The counts after the one other group that fills the budget best took as many as fit."""
    low, high = counts.copy(), search.sizes.copy()
    high[giver] = counts[giver]
    while (low < high).any():
        middle = (low + high + 1) // 2
        fits = search.utilisation_alone(counts, middle) <= 1 + ROUNDING
        low, high = np.where(fits, middle, low), np.where(fits, high, middle - 1)
    taker = int(search.utilisation_alone(counts, low).argmax())
    candidate = counts.copy()
    candidate[taker] = low[taker]
    return candidate
