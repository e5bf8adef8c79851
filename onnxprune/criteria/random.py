"""Random importance: the baseline that a criterion has to beat."""

from __future__ import annotations

import numpy as np

from onnxprune.core.shares import normalised
from onnxprune.criteria.base import ScoreContext, Scores
from onnxprune.criteria.registry import CRITERIA

__all__ = ["Random"]


@CRITERIA.register("random")
class Random:
    """Scores drawn uniformly from [0, 1), the same for the same seed and groups."""

    def score(self, context: ScoreContext) -> Scores:
        """Returns the importance of every channel; see `Criterion.score`."""
        generator = np.random.default_rng(context.seed)
        return Scores({g.name: normalised(generator.random(g.size)) for g in context.groups})
