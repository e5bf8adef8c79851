"""Gathering what several weights say about the channels of a group.

Let weight m hold channel i at the positions P_m(i) of its axis. With a norm of order k, its say is

    e_m[i] = Σ_{p ∈ P_m(i)} Σ |W_m[p, …]|^k,        q_m[i] = e_m[i] / mean_j e_m[j],

so that a weight with many or large entries speaks no louder than another. The score of a channel
is (r_m q_m[i])^(1/k), with r the mean over all weights that are not zero, or their maximum; or
(Σ_m e_m[i])^(1/k), where they are to speak as loud as they are. Divided by its mean over channels
it compares between groups.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from onnxprune.core.group import Group, Member
from onnxprune.core.shares import normalised
from onnxprune.criteria.base import ScoreContext

__all__ = ["Order", "channel_energy", "gathered", "pooled_norm", "pooled_strength"]

Order = Literal[1, 2]
_BLOCK = 2**20  # elements


def channel_energy(context: ScoreContext, group: Group, member: Member, order: Order = 2) -> NDArray[np.float64]:
    """Returns the L1 norm, or the squared L2 norm, of each channel's slices of one initializer: float64 [size]."""
    sums = _axis_energy(context.read(member.initializer), member.axis, order)
    labels = context.labels(group.name, member)
    inside = labels >= 0
    energy = np.zeros(group.size)
    np.add.at(energy, labels[inside], sums[inside])
    return energy


def _axis_energy(values: NDArray[Any], axis: int, order: Order) -> NDArray[np.float64]:
    """Returns Σ |v|^order at each index of an axis: float64 [axis size]."""
    power = np.square if order == 2 else np.abs
    if axis == 0:
        # row by row: a float64 copy of a whole embedding would be large
        return np.array([power(row.astype(np.float64)).sum() for row in values], dtype=np.float64)
    others = tuple(i for i in range(values.ndim - 1) if i != axis - 1)
    energy = np.zeros(values.shape[axis])
    step = max(1, _BLOCK * len(values) // max(1, values.size))
    for start in range(0, len(values), step):
        block = power(values[start : start + step].astype(np.float64))
        energy += block.sum(axis=0).sum(axis=others)
    return energy


def gathered(
    context: ScoreContext, group: Group, members: Sequence[Member], say: Callable[[Member], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Returns what several weights say together, as `context.reduce` has it.

    Args:
        context: Says how.
        group: What they speak of.
        members: A weight that several of them name along the same axis speaks once.
        say: Member → what its weight says of each channel, float64 [size], at least 0.

    Returns:
        float64 [size], zeros where no weight says anything.
    """
    first: dict[tuple[str, int], Member] = {}
    for member in members:
        first.setdefault((member.initializer, member.axis), member)
    loud = [found for found in map(say, first.values()) if found.any()]
    if not loud:
        return np.zeros(group.size)
    if context.reduce == "sum":
        result: NDArray[np.float64] = np.sum(loud, axis=0)
        return result
    shares = [normalised(say) for say in loud]
    result = np.mean(shares, axis=0) if context.reduce == "mean" else np.max(shares, axis=0)
    return result


def pooled_strength(
    context: ScoreContext, group: Group, members: Sequence[Member], order: Order = 2
) -> NDArray[np.float64]:
    """Returns the norm that `members` together give each channel: float64 [size], zeros where all are zero."""
    found = gathered(context, group, members, lambda member: channel_energy(context, group, member, order))
    return np.sqrt(found) if order == 2 else found


def pooled_norm(context: ScoreContext, group: Group, members: Sequence[Member]) -> NDArray[np.float64]:
    """Returns the L2 `pooled_strength` over its mean: float64 [size], zeros where all are zero."""
    return normalised(pooled_strength(context, group, members))
