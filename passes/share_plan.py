"""share_plan: of several processes that train together, all cut what the first one decided.

Scores are sums of floats; two machines may round them differently, and then rank two channels
differently.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnxprune.core.plan import Plan
from onnxprune.core.stage import Bench, Pass
from onnxprune.train.workers import workers

__all__ = ["SharePlan"]


@dataclass(frozen=True)
class SharePlan(Pass):
    """Edits "plan"."""

    name = "share_plan"
    needs = ("plan",)
    edits = ("plan",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Shares."""
        team = workers()
        text = team.broadcast_text(bench.take("plan", Plan).to_json() if team.first else None)
        return {"plan": Plan.from_json(text)}
