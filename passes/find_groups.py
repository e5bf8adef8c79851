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
    """Gives "analysis": groups, frozen channels with reasons, cost polynomials; and "working".

    "working" is the model whose weights are pruned: at first the analysed model itself, later
    with what training made of them (`carry_weights`).

    Attributes:
        approximate: Whether channels may go over which an operator takes statistics.
    """

    approximate: bool = False

    name = "find_groups"
    needs = ("model", "shapes")
    gives = ("analysis", "working")

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Analyses the model."""
        analysis = analyse(
            bench.take("model", Model), bench.take("shapes", ConcreteShapes), approximate=self.approximate
        )
        soft = [group.name for group in analysis.groups if group.approximate]
        if soft:
            bench.note(
                f"Approximate removal was allowed: {len(soft)} of {len(analysis.groups)} groups run through operators "
                f"that take statistics over them ({', '.join(soft[:3])}{', …' if len(soft) > 3 else ''}). What they "
                "lose changes the statistics of what stays; retrain to make up for it."
            )
        for op, count in analysis.unknown_ops.items():
            times = "once" if count == 1 else f"{count} times"
            bench.note(f"Operator {op} ({times}) has no axis rule; the channels it touches stay.")
        return {"analysis": analysis, "working": bench.take("model", Model)}
