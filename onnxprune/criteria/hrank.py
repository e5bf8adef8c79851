"""Rank of feature maps (HRank, Lin et al., CVPR 2020, section 3.3).

A channel whose map [height, width] has a high rank, on average over samples, carries more. Where a
channel is no map (the width of a Transformer, a fully connected layer), the map is
[samples, positions].
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from onnxprune.criteria.base import ScoreContext, Scores
from onnxprune.criteria.magnitude import speakers
from onnxprune.criteria.pooling import pooled_norm
from onnxprune.criteria.registry import CRITERIA

__all__ = ["Hrank", "from_readings"]


@CRITERIA.register("hrank")
class Hrank:
    """Scores by the mean rank of feature maps; equal ranks by magnitude."""

    def score(self, context: ScoreContext) -> Scores:
        """Returns the importance of every channel; see `Criterion.score`.

        Raises:
            UsageError: when there are no data.
        """
        return from_readings(context, context.probe.ranks)


def from_readings(context: ScoreContext, readings: Mapping[str, NDArray[np.float64]]) -> Scores:
    """Returns readings as shares; groups that no weight reads are scored by magnitude, with a note.

    Magnitude also decides between equal readings, by less than a millionth.

    Args:
        context: Names all groups.
        readings: Group → one number for each channel, float64 [size], at least 0.
    """
    values, notes = {}, []
    for group in context.groups:
        weight = pooled_norm(context, group, speakers(group))
        found = readings.get(group.name)
        if found is None or not found.any():
            values[group.name] = context.share(weight)
            notes.append(f"No weight reads {group.name}, or it is always zero: its channels are scored by magnitude.")
            continue
        values[group.name] = context.share(found + 1e-7 * found.mean() * weight)
    return Scores(values, tuple(notes))
