"""Mean magnitude of what a channel hands on (Molchanov et al., ICLR 2017, section 2.2, "activation").

Taken over samples and positions of the tensors that weights read the group from; several of them
are pooled as shares.
"""

from __future__ import annotations

from onnxprune.criteria.base import ScoreContext, Scores
from onnxprune.criteria.hrank import from_readings
from onnxprune.criteria.registry import CRITERIA

__all__ = ["Activation"]


@CRITERIA.register("activation")
class Activation:
    """Scores by the mean magnitude of activations."""

    def score(self, context: ScoreContext) -> Scores:
        """Returns the importance of every channel; see `Criterion.score`.

        Raises:
            UsageError: when there are no data.
        """
        return from_readings(context, context.probe.magnitudes)
