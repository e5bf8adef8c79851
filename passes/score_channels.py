"""score_channels: what each channel is worth, by the chosen criterion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from onnxprune.core.errors import ModelError
from onnxprune.core.plan import Plan
from onnxprune.core.stage import Bench, Pass
from onnxprune.criteria import CRITERIA, ScoreContext, Scores
from onnxprune.criteria.base import Normalize, Reduce
from onnxprune.criteria.compare import comparable
from onnxprune.criteria.fisher import Fisher
from onnxprune.criteria.magnitude import Magnitude
from onnxprune.graph import Model, read_real
from onnxprune.groups import Analysis
from onnxprune.train.bench import find_samples
from onnxprune.trial.probe import Probe

__all__ = ["ScoreChannels"]

SHOWN_REASONS = 8


@dataclass(frozen=True)
class ScoreChannels(Pass):
    """Gives "scores"; where an earlier phase left a "plan", of the channels that it keeps.

    Attributes:
        criterion: Name of the criterion; "auto" is fisher where there are data that the model can be
            differentiated on, else magnitude.
        seed: For criteria that draw.
        reduce: How several weights of one group are gathered.
        normalize: How groups compare (`onnxprune.criteria.compare`).
    """

    criterion: str = "auto"
    seed: int = 0
    reduce: Reduce = "mean"
    normalize: Normalize = "auto"

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
        context = ScoreContext(
            analysis.groups,
            partial(read_real, model),
            analysis.labels,
            self.seed,
            self._probe(bench, model, analysis),
            self.reduce,
            self.normalize,
        )
        scores = self._scores(context, bench)
        for note in scores.notes:
            bench.note(note)
        earlier = bench.find("plan", Plan)
        left = scores if earlier is None else _of_what_is_left(scores, earlier, context)
        return {"scores": comparable(left, self.normalize)}

    def _scores(self, context: ScoreContext, bench: Bench) -> Scores:
        if self.criterion != "auto":
            return CRITERIA.get(self.criterion)().score(context)
        if context.data is not None:
            try:
                scores = Fisher().score(context)
            except ModelError as error:
                bench.note(f"Channels are scored by magnitude, because gradients cannot be taken: {error}")
            else:
                bench.note(
                    "Channels are scored by fisher: by how far the outputs would move from the original's, to second "
                    f"order, on {context.data.samples:,} samples of the data."
                )
                return scores
        return Magnitude().score(context)

    def _probe(self, bench: Bench, model: Model, analysis: Analysis) -> Probe | None:
        data = find_samples(bench, "data")
        return None if data is None else Probe(model, analysis, data, seed=self.seed)


def _of_what_is_left(scores: Scores, plan: Plan, context: ScoreContext) -> Scores:
    """Returns scores of the channels that an earlier phase left, and below all of them for the others."""
    left = {}
    for name, values in scores.values.items():
        mask = plan.mask(name)
        left[name] = np.full(len(values), -1.0)
        left[name][mask] = context.share(values[mask]) if scores.unit == "share" else values[mask]
    return replace(scores, values=left)


def _nothing_to_prune(analysis: Analysis) -> str:
    reasons = [f"'{f.name}' ({f.size}): {f.reasons[0]}" for f in analysis.frozen]
    shown = "; ".join(reasons[:SHOWN_REASONS])
    more = f"; and {len(reasons) - SHOWN_REASONS} more" if len(reasons) > SHOWN_REASONS else ""
    return (
        f"No channel of this model can be removed exactly. Frozen: {shown or 'there are no weights'}{more}. "
        "`onnxprune inspect` lists every reason."
    )
