"""First-order Taylor expansion of the labels' loss (Molchanov et al., CVPR 2019, section 3.2).

With slopes g = ∂L/∂m of batches of a few samples (`onnxprune.trial.probe`), channel i scores
mean |g_i|. Over all samples at once g is next to nothing, since the model was trained to have
it so; what counts is how strongly single samples pull.
"""

from __future__ import annotations

import numpy as np

from onnxprune.criteria.base import ScoreContext, Scores
from onnxprune.criteria.fisher import in_loss_units
from onnxprune.criteria.registry import CRITERIA

__all__ = ["Taylor"]


@CRITERIA.register("taylor")
class Taylor:
    """Scores by the first-order change of the labels' loss."""

    def score(self, context: ScoreContext) -> Scores:
        """Returns the importance of every channel; see `Criterion.score`.

        Raises:
            UsageError: when there are no data, or no labels.
        """
        slopes = context.probe.slopes
        return in_loss_units(context, {name: np.mean(np.abs(g), axis=0) for name, g in slopes.items()})
