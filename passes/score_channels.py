"""score_channels: what each channel is worth, by the chosen criterion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from onnxprune.core.errors import ModelError
from onnxprune.core.plan import Plan
from onnxprune.core.stage import Bench, Pass
from onnxprune.criteria import CRITERIA, ScoreContext, Scores
from onnxprune.criteria.pooling import normalised
from onnxprune.graph import Model, read_real
from onnxprune.groups import Analysis

__all__ = ["ScoreChannels"]

SHOWN_REASONS = 8


@dataclass(frozen=True)
class ScoreChannels(Pass):
    """Gives "scores"; where an earlier phase left a "plan", of the channels that it keeps.

    Attributes:
        criterion: Name of the criterion.
        seed: For criteria that draw.
    """

    criterion: str = "magnitude"
    seed: int = 0

    name = "score_channels"
    needs = ("working", "analysis")
    gives = ("scores",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Scores.

        Raises:
            ModelError: when the model has no prunable channel at all; the reasons are listed.
        """
        analysis = bench.take("analysis", Analysis)
        if not analysis.groups:
            raise ModelError(_nothing_to_prune(analysis))
        model = bench.take("working", Model)
        context = ScoreContext(analysis.groups, partial(read_real, model), analysis.labels, self.seed)
        scores = CRITERIA.get(self.criterion)().score(context)
        for note in scores.notes:
            bench.note(note)
        earlier = bench.find("plan", Plan)
        return {"scores": scores if earlier is None else _of_what_is_left(scores, earlier)}


def _of_what_is_left(scores: Scores, plan: Plan) -> Scores:
    """Returns scores with mean 1 over the channels that an earlier phase left, and below all of them for the others."""
    left = {}
    for name, values in scores.values.items():
        mask = plan.mask(name)
        left[name] = np.full(len(values), -1.0)
        left[name][mask] = normalised(values[mask])
    return Scores(left, scores.notes)


def _nothing_to_prune(analysis: Analysis) -> str:
    reasons = [f"'{f.name}' ({f.size}): {f.reasons[0]}" for f in analysis.frozen]
    shown = "; ".join(reasons[:SHOWN_REASONS])
    more = f"; and {len(reasons) - SHOWN_REASONS} more" if len(reasons) > SHOWN_REASONS else ""
    return (
        f"No channel of this model can be removed exactly. Frozen: {shown or 'there are no weights'}{more}. "
        "`onnxprune inspect` lists every reason."
    )
