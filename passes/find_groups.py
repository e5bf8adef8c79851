"""find_groups: the axis algebra over the whole graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnxprune.core.stage import Bench, Pass
from onnxprune.graph import Model
from onnxprune.groups import ConcreteShapes, analyse

__all__ = ["FindGroups"]


@dataclass(frozen=True)
class FindGroups(Pass):
    """Gives "analysis": groups, frozen channels with reasons, cost polynomials."""

    name = "find_groups"
    needs = ("model", "shapes")
    gives = ("analysis",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Analyses the model."""
        analysis = analyse(bench.take("model", Model), bench.take("shapes", ConcreteShapes))
        for op, count in analysis.unknown_ops.items():
            times = "once" if count == 1 else f"{count} times"
            bench.note(f"Operator {op} ({times}) has no axis rule; the channels it touches stay.")
        return {"analysis": analysis}
