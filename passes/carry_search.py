"""carry_search: what the weights learned while keep ratios were searched for goes on to surgery and training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnxprune.core.stage import Bench, Pass
from onnxprune.passes.open_search import Learned
from onnxprune.trial.searcher import DataSearcher

__all__ = ["CarrySearch"]


@dataclass(frozen=True)
class CarrySearch(Pass):
    """Edits "working"."""

    name = "carry_search"
    needs = ("learned", "searcher")
    edits = ("working",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Carries."""
        return {"working": bench.take("learned", Learned).model(bench.take("searcher", DataSearcher).student)}
