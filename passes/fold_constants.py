"""fold_constants: what is constant becomes an initializer.

Exporters write shapes, scales and packed weights as little computations. Folding them first
lets the axis algebra see sizes instead of arithmetic. An If whose condition turns out constant
is replaced by the branch it takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnxprune.core.stage import Bench, Pass
from onnxprune.graph import (
    Model,
    constant_frontier,
    constants_to_initializers,
    fold_values,
    inline_branches,
)
from onnxprune.runtime import make_session, run

__all__ = ["FoldConstants", "fold", "open_branches"]


@dataclass(frozen=True)
class FoldConstants(Pass):
    """Edits "model"."""

    name = "fold_constants"
    needs = ("model",)
    edits = ("model",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Folds."""
        model = bench.take("model", Model)
        fold(model, bench)
        return {"model": model}


def fold(model: Model, bench: Bench) -> None:
    """Folds what is constant, and opens the branches that are then known to be taken."""
    while True:
        constants_to_initializers(model)
        frontier = constant_frontier(model)
        if frontier is not None:
            fold_values(model, run(make_session(frontier, optimize=False), {}))
        if not _open(model, bench):
            break


def open_branches(model: Model, bench: Bench) -> bool:
    """Replaces each If whose condition is constant by the branch it takes; returns whether there was one."""
    if not _open(model, bench):
        return False
    fold(model, bench)  # what lay in the branch
    return True


def _open(model: Model, bench: Bench) -> bool:
    names = inline_branches(model)
    if names:
        listed = ", ".join(repr(name) for name in names)
        bench.note(f"If {listed}: the same branch is always taken; it was put in the place of the If.")
    return bool(names)
