"""allocate_budget: how many channels each group keeps, and which, so that every budget holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from onnxprune.allocate import ALLOCATORS, Problem, select_channels
from onnxprune.core.budget import Budget
from onnxprune.core.phases import Phase
from onnxprune.core.plan import Plan
from onnxprune.core.stage import Bench, Pass
from onnxprune.cost import COSTS
from onnxprune.criteria import Scores
from onnxprune.graph import Model
from onnxprune.groups import Analysis
from onnxprune.trial.searcher import DataSearcher

__all__ = ["AllocateBudget"]

REPORTED = ("flops", "params", "size")


@dataclass(frozen=True)
class AllocateBudget(Pass):
    """Gives "allocation" and "plan"; an earlier phase's plan bounds what may be kept.

    Attributes:
        budgets: What the slim model may cost; all must hold.
        allocator: Name of the allocator.
        align: "auto", or the multiple that kept counts prefer.
        options: What led here, for the plan's record.
        phase: Which phase of how many; all but the last stop on the way to the budgets.
    """

    budgets: tuple[Budget, ...]
    allocator: str = "global"
    align: int | Literal["auto"] = "auto"
    options: Mapping[str, Any] | None = None
    phase: Phase = field(default_factory=Phase)

    name = "allocate_budget"
    needs = ("original", "model", "analysis", "scores")
    gives = ("allocation", "plan")

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Allocates.

        Raises:
            BudgetError: when no allocation meets the budgets; the reachable range is printed.
        """
        analysis, model = bench.take("analysis", Analysis), bench.take("model", Model)
        scored = bench.take("scores", Scores)
        scores = scored.values
        costs = {name: COSTS.get(name)().polynomial(analysis, model) for name in REPORTED}
        whole = {b.resource: float(costs[b.resource](analysis.sizes)) for b in self.budgets}
        limits = {b.resource: self.phase.limit(b.limit(whole[b.resource]), whole[b.resource]) for b in self.budgets}
        earlier = bench.find("plan", Plan)
        left = {name: len(kept) for name, kept in earlier.kept.items()} if earlier is not None else {}
        problem = Problem(
            analysis.groups,
            scores,
            costs,
            limits,
            self.align,
            ceilings=left,
            unit=scored.unit,
            searcher=bench.find("searcher", DataSearcher),
        )
        allocation = ALLOCATORS.get(self.allocator)().solve(problem)
        for note in allocation.notes:
            bench.note(note)
        approximate = {group.name: group.approximate for group in analysis.groups if group.approximate}
        digest = bench.take("original", Model).sha256
        plan = select_channels(allocation, scores, digest, self.options, approximate)
        return {"allocation": allocation, "plan": plan}
