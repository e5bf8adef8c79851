"""prune_channels: surgery. The plan is its only input besides the analysed model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnxprune.core.plan import Plan
from onnxprune.core.stage import Bench, Pass
from onnxprune.graph import Model
from onnxprune.groups import Analysis, prune

__all__ = ["PruneChannels"]


@dataclass(frozen=True)
class PruneChannels(Pass):
    """Gives "slim": the model without the dropped channels."""

    name = "prune_channels"
    needs = ("working", "analysis", "plan")
    gives = ("slim",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Cuts."""
        slim = prune(bench.take("working", Model), bench.take("analysis", Analysis), bench.take("plan", Plan))
        return {"slim": slim}
