"""L2 norm of the weights that write a channel, over all producers of its group.

Where a group has no producer, such as channels of a computed tensor, the weights that read
the channel speak for it, and last its per-channel vectors.
"""

from __future__ import annotations

from collections.abc import Sequence

from onnxprune.core.group import Group, Member
from onnxprune.criteria.base import ScoreContext, Scores
from onnxprune.criteria.pooling import pooled_norm
from onnxprune.criteria.registry import CRITERIA

__all__ = ["Magnitude", "speakers"]


@CRITERIA.register("magnitude")
class Magnitude:
    """Scores by the L2 norm of a group's producers; see `pooling`."""

    def score(self, context: ScoreContext) -> Scores:
        """Returns the importance of every channel; see `Criterion.score`."""
        return Scores({g.name: pooled_norm(context, g, speakers(g)) for g in context.groups})


def speakers(group: Group) -> Sequence[Member]:
    """Returns the members whose weights tell channels apart: producers, else consumers, else all."""
    consumers = tuple(m for m in group.members if m.role == "consumer")
    return group.producers or consumers or group.members
