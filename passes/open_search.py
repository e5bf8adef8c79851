"""open_search: what keep ratios learn on, for an allocator that asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from onnxprune.bridge import to_torch
from onnxprune.core.events import SearchProgress
from onnxprune.core.search import SearchOptions, SearchPoint
from onnxprune.core.stage import Bench, Pass
from onnxprune.graph import Model, for_training
from onnxprune.groups import Analysis
from onnxprune.passes.insert_batchnorm import identity_norms
from onnxprune.train.bench import take_samples
from onnxprune.trial.probe import Probe
from onnxprune.trial.searcher import DataSearcher
from onnxprune.trial.supernet import SupernetOptions

__all__ = ["OpenSearch"]


@dataclass(frozen=True)
class OpenSearch(Pass):
    """Gives "searcher".

    Attributes:
        learning: How the weights learn.
        options: How the keep ratios do.
        batchnorm: Whether a folded net gets normalisation to learn with.
    """

    learning: SupernetOptions
    options: SearchOptions = field(default_factory=SearchOptions)
    batchnorm: bool = True

    name = "open_search"
    needs = ("model", "working", "analysis", "data")
    gives = ("searcher",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Builds the student and its teacher."""
        working, data, seed = bench.take("working", Model), take_samples(bench, "data"), self.learning.train.seed
        probe = bench.find("probe", Probe) or Probe(working, bench.take("analysis", Analysis), data, seed=seed)
        wide = for_training(working)[0]
        learning = identity_norms(wide, data, seed) if self.batchnorm else wide
        student = to_torch(learning)
        teacher = to_torch(for_training(bench.take("model", Model))[0])

        def tell(point: SearchPoint, steps: int, left: float) -> None:
            bench.on_event(SearchProgress(point.step, steps, point.loss, point.used, point.undecided, left))

        gates = probe.gates
        return {"searcher": DataSearcher(learning, student, teacher, gates, data, self.learning, self.options, tell)}
