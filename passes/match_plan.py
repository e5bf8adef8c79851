"""match_plan: whether a plan was made for the file at hand, which is known before anything is analysed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnxprune.core.errors import InputError
from onnxprune.core.plan import Plan
from onnxprune.core.stage import Bench, Pass
from onnxprune.graph import Model

__all__ = ["MatchPlan"]


@dataclass(frozen=True)
class MatchPlan(Pass):
    """Gives nothing.

    Attributes:
        plan: The plan.
        source: Where it was read, as messages name it.
        other_weights: Whether it may have been made for another file; `use_plan` then asks for the same groups.
    """

    plan: Plan
    source: str = "the plan"
    other_weights: bool = False

    name = "match_plan"
    needs = ("original",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Compares hashes.

        Raises:
            InputError: when the plan was made for another file.
        """
        found, wanted = bench.take("original", Model), self.plan.model_sha256
        if found.sha256 == wanted:
            return {}
        if not self.other_weights:
            raise InputError(
                f"{self.source} does not fit: it was made for a model whose SHA-256 is {_short(wanted)}, and that of "
                f"{found.path or 'the model given'} is {_short(found.sha256)}. Give the model that it was made for, or "
                "add --other-weights if this is the same net with other weights."
            )
        bench.note(
            f"The plan was made for another file (SHA-256 {_short(wanted)}): the channels that go were chosen by the "
            "weights in that file."
        )
        return {}


def _short(digest: str) -> str:
    return f"{digest[:12]}…" if digest else "unknown"
