"""fold_constants: what is constant becomes an initializer, and what was merged is told apart.

Exporters write shapes, scales and merged biases as little computations. Folding them first
lets the axis algebra see sizes instead of arithmetic. Vectors that an exporter merged because
they were equal (all-zero biases, mostly) are copied per reader: sharing them would couple
layers that have nothing to do with one another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnxprune.core.stage import Bench, Pass
from onnxprune.graph import Model, constant_frontier, constants_to_initializers, fold_values, unshare_vectors
from onnxprune.runtime import make_session, run

__all__ = ["FoldConstants"]


@dataclass(frozen=True)
class FoldConstants(Pass):
    """Edits "model"."""

    name = "fold_constants"
    needs = ("model",)
    edits = ("model",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Folds."""
        model = bench.take("model", Model)
        constants_to_initializers(model)
        frontier = constant_frontier(model)
        if frontier is not None:
            fold_values(model, run(make_session(frontier, optimize=False), {}))
        unshare_vectors(model)
        return {"model": model}
