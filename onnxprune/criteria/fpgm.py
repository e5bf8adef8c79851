"""Distance to all other filters (FPGM, He et al., "Filter Pruning via Geometric Median", CVPR 2019).

A filter near the geometric median of its layer can be made up for by the others. With f_i what
writes channel i, the score is Σ_j ‖f_i − f_j‖; the sums of several weights that write a group are
gathered as magnitudes are (`onnxprune.criteria.pooling`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxprune.core.group import Group, Member
from onnxprune.criteria.base import ScoreContext, Scores
from onnxprune.criteria.magnitude import speakers
from onnxprune.criteria.pooling import gathered
from onnxprune.criteria.registry import CRITERIA

__all__ = ["Fpgm"]


@CRITERIA.register("fpgm")
class Fpgm:
    """Scores by how far a channel's weights are from those of the others."""

    def score(self, context: ScoreContext) -> Scores:
        """Returns the importance of every channel; see `Criterion.score`."""
        return Scores({group.name: _score(context, group) for group in context.groups})


def _score(context: ScoreContext, group: Group) -> NDArray[np.float64]:
    def sums(member: Member) -> NDArray[np.float64]:
        found: NDArray[np.float64] = _distances(_channel_slices(context, group, member)).sum(axis=1)
        return found

    return context.share(gathered(context, group, speakers(group), sums))


def _channel_slices(context: ScoreContext, group: Group, member: Member) -> NDArray[np.float64]:
    """Returns what one initializer holds of each channel, scaled to a largest magnitude of 1: float64 [size, …].

    Channels that take several positions have their slices one behind the other.
    """
    values: NDArray[Any] = np.moveaxis(context.read(member.initializer), member.axis, 0)
    labels = context.labels(group.name, member)
    inside = np.flatnonzero(labels >= 0)
    order = inside[np.argsort(labels[inside], kind="stable")]
    copies = max(1, len(order) // group.size)
    rows = values[order].astype(np.float64).reshape(len(order), -1)
    rows = rows / max(float(np.abs(rows).max(initial=0.0)), np.finfo(np.float64).tiny)
    if len(order) != group.size * copies:
        return np.zeros((group.size, 1))
    return rows.reshape(group.size, -1)


def _distances(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    squares = np.square(rows).sum(axis=1)
    gaps: NDArray[np.float64] = np.sqrt(np.maximum(squares[:, None] + squares - 2 * rows @ rows.T, 0.0))
    np.fill_diagonal(gaps, 0.0)
    return gaps
