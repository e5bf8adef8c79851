"""carry_search: what the weights learned while keep ratios were searched for goes on to surgery and training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnxprune.bridge import fold_batchnorm, write_back
from onnxprune.bridge.roles import tensor_roles
from onnxprune.core.plan import Plan
from onnxprune.core.stage import Bench, Pass
from onnxprune.graph import Model, for_training, narrowed_back
from onnxprune.groups import Analysis
from onnxprune.groups.carry import carried_model
from onnxprune.trial.searcher import DataSearcher

__all__ = ["CarrySearch"]


@dataclass(frozen=True)
class CarrySearch(Pass):
    """Edits "working"."""

    name = "carry_search"
    needs = ("working", "analysis", "searcher")
    edits = ("working",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Carries."""
        working, analysis = bench.take("working", Model), bench.take("analysis", Analysis)
        searcher = bench.take("searcher", DataSearcher)
        learned = searcher.model.copy()
        write_back(searcher.student, learned)
        folded = fold_batchnorm(learned)
        sizes = analysis.sizes
        everything = Plan("", sizes, {name: tuple(range(size)) for name, size in sizes.items()})
        trained = [name for name, role in tensor_roles(folded).items() if role != "constant"]
        wide, note = for_training(working)
        carried = carried_model(wide, analysis, everything, folded, trained)
        return {"working": carried if note is None else narrowed_back(carried, working)}
