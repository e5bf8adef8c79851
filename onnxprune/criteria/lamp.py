"""Layer-adaptive magnitude (LAMP, Lee et al., ICLR 2021, section 3), for channels.

With e_i the energy (squared norm) of what writes channel i, pooled over a group's weights,

    score_i = e_i / Σ_{j: e_j ≥ e_i} e_j.

The strongest channel of every group scores 1, so one threshold over all groups never empties one;
scores of different groups compare as they are.
"""

from __future__ import annotations

import numpy as np

from onnxprune.criteria.base import ScoreContext, Scores
from onnxprune.criteria.magnitude import speakers
from onnxprune.criteria.pooling import pooled_norm
from onnxprune.criteria.registry import CRITERIA

__all__ = ["Lamp"]


@CRITERIA.register("lamp")
class Lamp:
    """Scores by a channel's energy over that of all that are at least as strong."""

    def score(self, context: ScoreContext) -> Scores:
        """Returns the importance of every channel; see `Criterion.score`."""
        values = {}
        for group in context.groups:
            energy = np.square(pooled_norm(context, group, speakers(group)))
            order = np.argsort(-energy, kind="stable")
            above = np.cumsum(energy[order])
            # equal energies count all of each other
            last = np.searchsorted(-energy[order], -energy[order], side="right") - 1
            score = np.zeros(group.size)
            score[order] = np.divide(energy[order], above[last], out=np.zeros(group.size), where=above[last] > 0)
            values[group.name] = score
        return Scores(values, unit="rank")
