"""Second-order Taylor expansion of the distance from the original (Fisher; OBD, LeCun et al. 1990).

At the original the distance is flat, so dropping channel i costs ½ E[u_i²] to second order, with
the draws u of `onnxprune.trial.probe`. No labels are needed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onnxprune.criteria.base import ScoreContext, Scores
from onnxprune.criteria.magnitude import speakers
from onnxprune.criteria.pooling import pooled_norm
from onnxprune.criteria.registry import CRITERIA

__all__ = ["Fisher", "in_loss_units"]


@CRITERIA.register("fisher", "taylor2")
class Fisher:
    """Scores by the rise of the distance from the original, in nats or units of the outputs' variance."""

    def score(self, context: ScoreContext) -> Scores:
        """Returns the importance of every channel; see `Criterion.score`.

        Raises:
            UsageError: when there are no data.
        """
        draws = context.probe.draws
        return in_loss_units(context, {name: 0.5 * np.mean(np.square(u), axis=0) for name, u in draws.items()})


def in_loss_units(context: ScoreContext, found: dict[str, NDArray[np.float64]]) -> Scores:
    """Returns scores of the groups that were found; others get magnitudes with the median of those as their mean.

    Args:
        context: Names all groups.
        found: Group → rise of a loss by channel, float64 [size].
    """
    known = [float(values.mean()) for values in found.values() if values.any()]
    middle = float(np.median(known)) if known else 1.0
    values, notes = {}, []
    for group in context.groups:
        if group.name in found:
            values[group.name] = found[group.name]
            continue
        values[group.name] = middle * pooled_norm(context, group, speakers(group))
        notes.append(
            f"{group.name} has no floating-point weight to take gradients by: its channels are ranked by magnitude, "
            "and the group counts like the median group."
        )
    return Scores(values, tuple(notes), "loss")
