"""Scale of the batch normalisation that a channel passes (Network Slimming, Liu et al. 2017, §3).

BatchNormalization computes γ · x̂ + β with x̂ of unit variance, so |γ| is the spread of what the
channel hands on. Several normalisations of one group are pooled like several producers.
"""

from __future__ import annotations

from onnxprune.core.group import Group, Member
from onnxprune.criteria.base import ScoreContext, Scores
from onnxprune.criteria.magnitude import speakers
from onnxprune.criteria.pooling import pooled_strength
from onnxprune.criteria.registry import CRITERIA

__all__ = ["BnScale"]


@CRITERIA.register("bn_scale")
class BnScale:
    """Scores by |γ|; groups without batch normalisation by magnitude, with a note."""

    def score(self, context: ScoreContext) -> Scores:
        """Returns the importance of every channel; see `Criterion.score`."""
        values = {}
        notes = []
        for group in context.groups:
            scales = _scales(group)
            values[group.name] = context.share(pooled_strength(context, group, scales or speakers(group)))
            if not scales:
                notes.append(
                    f"{group.name} passes no BatchNormalization (exporters often fold it): "
                    "its channels are scored by magnitude."
                )
        return Scores(values, tuple(notes))


def _scales(group: Group) -> tuple[Member, ...]:
    return tuple(m for m in group.members if m.op == "BatchNormalization" and m.slot == 1)
