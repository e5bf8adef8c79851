"""Norm of the weights that write a channel, over all producers of its group (L1: Li et al., ICLR 2017).

Where a group has no producer, such as channels of a computed tensor, the weights that read
the channel speak for it, and last its per-channel vectors.
"""

from __future__ import annotations

from collections.abc import Sequence

from onnxprune.core.group import Group, Member
from onnxprune.criteria.base import ScoreContext, Scores
from onnxprune.criteria.pooling import Order, pooled_strength
from onnxprune.criteria.registry import CRITERIA

__all__ = ["Magnitude", "MagnitudeL1", "speakers"]


@CRITERIA.register("magnitude", "magnitude_l2")
class Magnitude:
    """Scores by the L2 norm of a group's producers; see `pooling`."""

    _order: Order = 2

    def score(self, context: ScoreContext) -> Scores:
        """Returns the importance of every channel; see `Criterion.score`."""
        return Scores(
            {g.name: context.share(pooled_strength(context, g, speakers(g), self._order)) for g in context.groups}
        )


@CRITERIA.register("magnitude_l1")
class MagnitudeL1(Magnitude):
    """Scores by the L1 norm of a group's producers; see `pooling`."""

    _order: Order = 1


def speakers(group: Group) -> Sequence[Member]:
    """Returns the members whose weights tell channels apart: producers, else consumers, else all."""
    consumers = tuple(m for m in group.members if m.role == "consumer")
    return group.producers or consumers or group.members
