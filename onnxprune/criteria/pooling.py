"""Gathering what several weights say about the channels of a group.

Let weight m hold channel i at the positions P_m(i) of its axis. Its say is

    e_m[i] = Σ_{p ∈ P_m(i)} ‖W_m[p, …]‖²,        q_m[i] = e_m[i] / mean_j e_m[j],

so that a weight with many or large entries speaks no louder than another. The score is the
root of the mean of q_m over all weights that are not zero, divided by its mean over channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxprune.core.group import Group, Member
from onnxprune.core.shares import normalised
from onnxprune.criteria.base import ScoreContext

__all__ = ["channel_energy", "pooled_norm"]

_BLOCK = 2**20  # elements


def channel_energy(context: ScoreContext, group: Group, member: Member) -> NDArray[np.float64]:
    """Returns the squared L2 norm of each channel's slices of one initializer: float64 [size]."""
    squares = _axis_energy(context.read(member.initializer), member.axis)
    labels = context.labels(group.name, member)
    inside = labels >= 0
    energy = np.zeros(group.size)
    np.add.at(energy, labels[inside], squares[inside])
    return energy


def _axis_energy(values: NDArray[Any], axis: int) -> NDArray[np.float64]:
    """Returns the sum of squares at each index of an axis: float64 [axis size]."""
    if axis == 0:
        # row by row: a float64 copy of a whole embedding would be large
        return np.array([np.square(row.astype(np.float64)).sum() for row in values], dtype=np.float64)
    others = tuple(i for i in range(values.ndim - 1) if i != axis - 1)
    energy = np.zeros(values.shape[axis])
    step = max(1, _BLOCK * len(values) // max(1, values.size))
    for start in range(0, len(values), step):
        block = np.square(values[start : start + step].astype(np.float64))
        energy += block.sum(axis=0).sum(axis=others)
    return energy


def pooled_norm(context: ScoreContext, group: Group, members: Sequence[Member]) -> NDArray[np.float64]:
    """Returns the normalised score that `members` together give: float64 [size], zeros where all are zero."""
    shares = []
    for initializer, axis in dict.fromkeys((m.initializer, m.axis) for m in members):
        member = next(m for m in members if (m.initializer, m.axis) == (initializer, axis))
        energy = channel_energy(context, group, member)
        if energy.any():
            shares.append(normalised(energy))
    if not shares:
        return np.zeros(group.size)
    return normalised(np.sqrt(np.mean(shares, axis=0)))
