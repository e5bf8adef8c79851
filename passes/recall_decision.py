"""recall_decision: what a run had decided before it was stopped; nothing is scored, searched or timed again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnxprune.core.decision import Decision
from onnxprune.core.stage import Bench, Pass

__all__ = ["RecallDecision"]


@dataclass(frozen=True)
class RecallDecision(Pass):
    """Gives "allocation" and "plan".

    Attributes:
        decision: What was kept of the run.
    """

    decision: Decision

    name = "recall_decision"
    gives = ("allocation", "plan")

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Recalls."""
        for note in self.decision.notes:
            bench.note(note)
        return {"allocation": self.decision.allocation, "plan": self.decision.plan}
