"""allocate_budget: how many channels each group keeps, and which, so that every budget holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from onnxprune.allocate import ALLOCATORS, Problem, allocate, preferred_allocator, select_channels
from onnxprune.core.allocation import Allocation
from onnxprune.core.budget import Budget
from onnxprune.core.phases import Phase
from onnxprune.core.stage import Bench, Pass
from onnxprune.cost import COSTS
from onnxprune.cost.memory import memory_polynomials
from onnxprune.criteria import Scores
from onnxprune.graph import Model
from onnxprune.groups import Analysis
from onnxprune.passes.learn_latency import LatencyPlan
from onnxprune.passes.score_tiles import TileLevels
from onnxprune.trial.searcher import DataSearcher

__all__ = ["AllocateBudget"]

REPORTED = ("flops", "params", "size")
_AS_ASKED: Mapping[str, float] = {}


@dataclass(frozen=True)
class AllocateBudget(Pass):
    """Gives "allocation" and "plan"; what an earlier phase took is not given back.

    Attributes:
        budgets: What the slim model may cost; all must hold.
        allocator: Name of the allocator; "auto" is `onnxprune.allocate.preferred_allocator`'s.
        align: "auto", or the multiple that kept counts prefer.
        phase: Which phase of how many; all but the last stop on the way to the budgets.
    """

    budgets: tuple[Budget, ...]
    allocator: str = "auto"
    align: int | Literal["auto"] = "auto"
    phase: Phase = field(default_factory=Phase)

    name = "allocate_budget"
    needs = ("original", "model", "analysis", "scores")
    gives = ("allocation", "plan")

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Allocates.

        Raises:
            BudgetError: when no allocation meets the budgets; the reachable range is printed.
        """
        problem, name = self.problem(bench), self.allocator
        if name == "auto":
            name, does = preferred_allocator(problem)
            bench.note(f"The budget is shared out by {name}, {does}.")
        return self._chosen(bench, ALLOCATORS.get(name)().solve(problem))

    def again(self, bench: Bench, scales: Mapping[str, float]) -> Mapping[str, Any]:
        """Allocates once more, channels in the same order of worth, with limits times `scales`.

        Args:
            bench: Holds the first "allocation".
            scales: Resource → factor; 1 where absent.

        Raises:
            BudgetError: when no allocation meets the limits.
        """
        before = bench.take("allocation", Allocation)
        found = allocate(self.problem(bench, scales), before.worth)
        return self._chosen(bench, replace(found, search=before.search))

    def problem(self, bench: Bench, scales: Mapping[str, float] = _AS_ASKED) -> Problem:
        """Returns what the allocator is given."""
        analysis, model, scored = (
            bench.take("analysis", Analysis),
            bench.take("model", Model),
            bench.take("scores", Scores),
        )
        costs = {name: COSTS.get(name)().polynomial(analysis, model) for name in REPORTED}
        latency = bench.find("latency_plan", LatencyPlan)
        if latency is not None:
            costs["latency"] = latency.cost
        levels = bench.find("tile_levels", TileLevels)
        if levels is not None:
            costs = {name: levels.cost(name, cost) for name, cost in costs.items()}
        original = bench.find("original_costs", dict) or {}
        limits: dict[str, float] = {}
        groups = (*analysis.groups, *(levels.groups if levels is not None else ()))
        everything = {group.name: group.size for group in groups}
        for budget in self.budgets:
            parts = memory_polynomials(analysis, model) if budget.resource == "memory" else {}
            costs |= parts
            bounded = list(parts) or [budget.resource]
            whole = max(float(costs[name](everything)) for name in bounded)
            # a share is of the model as it was given, which folding may have made cheaper
            limit = budget.limit(original.get(budget.resource, whole))
            limits |= dict.fromkeys(bounded, self.phase.limit(limit, whole))
        return Problem(
            groups,
            {**scored.values, **(levels.worth if levels is not None else {})},
            costs,
            {resource: limit * scales.get(resource, 1.0) for resource, limit in limits.items()},
            self.align,
            # channels that an earlier phase took have scores below zero
            ceilings={name: int((values >= 0).sum()) for name, values in scored.values.items()},
            unit=scored.unit,
            searcher=bench.find("searcher", DataSearcher),
        )

    def _chosen(self, bench: Bench, allocation: Allocation) -> Mapping[str, Any]:
        """Returns the allocation and the plan that carries it out."""
        analysis = bench.take("analysis", Analysis)
        for note in allocation.notes:
            bench.note(note)
        approximate = {group.name: group.approximate for group in analysis.groups if group.approximate}
        digest, scores = bench.take("original", Model).sha256, bench.take("scores", Scores).values
        searcher = bench.find("searcher", DataSearcher)
        if searcher is not None and searcher.importances is not None:
            scores = searcher.importances
        counts = {name: allocation.kept[name] for name in analysis.sizes}
        plan = select_channels(replace(allocation, kept=counts), scores, digest, approximate=approximate)
        return {"allocation": allocation, "plan": plan}
