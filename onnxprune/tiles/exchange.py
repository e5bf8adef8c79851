"""The M-step of N:M members: channels of different groups change places.

At a fixed mask an N:M member ties each channel to its position, and nothing moves. So take one channel out of
each of several groups, and ask what group g keeps when channel c fills its hole. For every output, with t the
n-th largest of the m − 1 that stayed, that is a constant and

    gain[c, g] = Σ_outputs max(0, X[c] − t[g]),

an exact linear assignment problem (the re-assignment of gyro-permutation, with true gains), to which members
with other patterns add their cost at a fixed mask. Putting each channel back is one of its solutions, so a
step never loses. A sweep opens a hole at every position once, in batches that share no group.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from onnxprune.core.errors import InternalError
from onnxprune.tiles.arrays import Floats, Indices
from onnxprune.tiles.n_of_m import NOfM
from onnxprune.tiles.sheet import Sheet
from onnxprune.tiles.variable import Use, Variable

__all__ = ["exchange", "open_holes"]


def open_holes(variable: Variable, sheets: Sequence[Sheet], limit: int, rng: np.random.Generator) -> Iterator[Indices]:
    """Yields batches of positions, int64 [at most `limit`], at random, no two of a batch in one group."""
    groups_of: list[set[tuple[int, int]]] = [set() for _ in range(variable.size)]
    for use in variable.groups:
        for position, groups in enumerate((use.places // _rule(sheets[use.member]).m).tolist()):
            groups_of[position].update((use.member, group) for group in groups)
    waiting = rng.permutation(variable.size).tolist()
    while waiting:
        taken: set[tuple[int, int]] = set()
        batch: list[int] = []
        later: list[int] = []
        for position in waiting:
            if len(batch) < limit and taken.isdisjoint(groups_of[position]):
                taken.update(groups_of[position])
                batch.append(position)
            else:
                later.append(position)
        yield np.array(batch, dtype=np.int64)
        waiting = later


def exchange(
    variable: Variable,
    sheets: Sequence[Sheet],
    order: Indices,
    holes: Indices,
    cost: Floats,
    noise: float,
    rng: np.random.Generator,
) -> Indices:
    """Returns an order in which the channels at `holes` have changed places for the best.

    Args:
        variable: Whose order it is.
        sheets: The members in their present orders.
        order: Position → channel, int64 [size].
        holes: Positions, int64 [holes], no two in one group.
        cost: What members with other patterns lose, float64 [size, kinds]; see `placing_cost`.
        noise: Relative disturbance of each saliency.
        rng: Draws the noise.
    """
    channels = order[holes]
    gain = -cost[np.ix_(channels, variable.kinds[holes])]
    for use in variable.groups:
        gain += _gain(sheets[use.member], use, channels, holes, noise, rng)
    found, at = linear_sum_assignment(gain, maximize=True)
    if gain[found, at].sum() - np.trace(gain) <= 1e-12 * np.abs(gain).sum():
        return order
    result = order.copy()
    result[holes[at]] = channels[found]
    return result


def _gain(sheet: Sheet, use: Use, channels: Indices, holes: Indices, noise: float, rng: np.random.Generator) -> Floats:
    """What each channel adds in each hole: float64 [channels, holes]."""
    result = np.zeros((len(channels), len(holes)))
    for copy in range(use.places.shape[1]):
        level = _levels(sheet, use.places[holes, copy])
        worth = sheet.values[use.places[channels, copy]]
        if noise > 0:
            worth = np.maximum(worth * (1.0 + noise * rng.standard_normal(worth.shape)), 0.0)
        larger = np.empty_like(worth)
        for hole, one in enumerate(level):
            np.maximum(worth, one, out=larger)
            result[:, hole] += larger.sum(axis=1) - one.sum()
    return result


def _levels(sheet: Sheet, places: Indices) -> Floats:
    """The n-th largest saliency of what stays in each hole's group: float64 [holes, outputs]."""
    rule, order = _rule(sheet), sheet.orders[0]
    group = places[:, None] // rule.m * rule.m + np.arange(rule.m)
    stays = group[group != places[:, None]].reshape(len(places), rule.m - 1)
    missing = stays >= len(order)
    rest = sheet.values[order[np.where(missing, 0, stays)]]
    rest[missing] = 0.0
    at = rule.m - 1 - rule.n
    result: Floats = np.partition(rest, at, axis=1)[:, at]
    return result


def _rule(sheet: Sheet) -> NOfM:
    pattern = sheet.member.pattern
    if not isinstance(pattern, NOfM):
        raise InternalError(f"member {sheet.member.name!r} is no N:M member")
    return pattern
