"""One step of placing channels, exact where that can be afforded.

Three solvers, by the number of kinds of positions: few kinds make a transportation problem, exact at any
size; many kinds with at most `limit` channels make a dense linear assignment problem, exact; beyond that only
`limit` positions at random change their channels, exactly among themselves. No step costs more than staying.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from onnxprune.tiles.arrays import Floats, Indices
from onnxprune.tiles.transport import transport

__all__ = ["fill_positions", "is_partial", "place"]

_GAIN = 1e-12  # of the largest cost: less is rounding
_ALIKE = 1e11  # steps in the largest cost


def place(
    cost: Floats, kinds: Indices, order: Indices, prices: Floats | None, limit: int, rng: np.random.Generator
) -> tuple[Indices, Floats | None]:
    """Returns an order that costs no more than `order`, and prices to begin the next step with.

    Args:
        cost: Cost of each channel at each kind of position, float64 [n, kinds].
        kinds: Kind of each position, int64 [n], every kind at least once.
        order: Position → channel, int64 [n].
        prices: Of the last step with these kinds.
        limit: Kinds that a transportation problem, and channels that an assignment problem may have.
        rng: Picks positions where not all can be placed at once.
    """
    n, count = cost.shape
    now = np.empty_like(order)
    now[order] = kinds
    found = now.copy()
    if _few(n, count, limit):
        firsts, alike = _alike(cost)
        kinds = alike[kinds]
        found, fewer = transport(cost[:, firsts], np.bincount(kinds), None if prices is None else prices[firsts])
        prices, now = fewer[alike], alike[now]
        cost = cost[:, firsts]
    else:
        positions = np.arange(n) if n <= limit else np.sort(rng.permutation(n)[:limit])
        channels = order[positions]
        _, at = linear_sum_assignment(cost[np.ix_(channels, kinds[positions])])
        found[channels] = kinds[positions][at]
    every = np.arange(n)
    gain = float((cost[every, now] - cost[every, found]).sum())
    if gain <= _GAIN * float(np.abs(cost).max(initial=0.0)) * n:
        return order, prices
    return fill_positions(found, kinds, order), prices


def is_partial(n: int, kinds: int, limit: int) -> bool:
    """Whether one step places only some of n channels; arguments as those of `place`."""
    return n > limit and not _few(n, kinds, limit)


def _few(n: int, kinds: int, limit: int) -> bool:
    """Whether positions of one kind are many enough for a transportation problem."""
    return kinds <= min(limit, n // 2)


def _alike(cost: Floats) -> tuple[Indices, Indices]:
    """First of each set of kinds with one cost, int64 [sets], and the set of each kind, int64 [kinds].

    Blocks that all tiles keep, or none, are common, and a channel does not care in which of them it is.
    """
    step = float(np.abs(cost).max(initial=0.0)) / _ALIKE
    seen: dict[bytes, int] = {}
    firsts: list[int] = []
    sets = np.empty(cost.shape[1], dtype=np.int64)
    for kind, column in enumerate(np.rint(cost.T / step) if step > 0 else np.zeros_like(cost.T)):
        sets[kind] = seen.setdefault(column.tobytes(), len(firsts))
        if sets[kind] == len(firsts):
            firsts.append(kind)
    return np.array(firsts, dtype=np.int64), sets


def fill_positions(wanted: Indices, kinds: Indices, order: Indices) -> Indices:
    """Returns an order that gives each channel a position of its kind; a channel in a right place stays.

    Args:
        wanted: Kind of each channel, int64 [n].
        kinds: Kind of each position, int64 [n].
        order: The order so far, int64 [n].
    """
    result = order.copy()
    moving = wanted[order] != kinds
    positions, channels = np.flatnonzero(moving), np.sort(order[moving])
    result[positions[np.argsort(kinds[positions], kind="stable")]] = channels[
        np.argsort(wanted[channels], kind="stable")
    ]
    return result
