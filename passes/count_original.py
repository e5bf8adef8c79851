"""count_original: what the model costs as it was given, which budgets in shares refer to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnxprune.core.stage import Bench, Pass
from onnxprune.cost import COSTS
from onnxprune.cost.memory import peak_memory
from onnxprune.graph import Model
from onnxprune.runtime import FeedPair, observe, stand_in

__all__ = ["CountOriginal", "recount"]


@dataclass(frozen=True)
class CountOriginal(Pass):
    """Gives "original_costs": resource → cost of one sample, recounted on the graph."""

    name = "count_original"
    needs = ("original", "feeds")
    gives = ("original_costs",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Counts."""
        return {"original_costs": recount(bench, bench.take("original", Model))}


def recount(bench: Bench, model: Model) -> dict[str, float]:
    """Recounts every cost on a graph as it stands, from the shapes of a run."""
    runnable = stand_in(model)
    (seen,) = observe(runnable.model, bench.take("feeds", FeedPair).first)
    found = {name: COSTS.get(name)().recount(model, seen.shapes) for name in ("flops", "params", "size")}
    return found | {"memory": peak_memory(model, seen.shapes, seen.dtypes)}
