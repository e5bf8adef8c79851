"""sign_plan: writes down with a plan what led to it, what was asked, and what it will cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from onnxprune import __version__
from onnxprune.core.budget import Budget
from onnxprune.core.plan import Plan, PlannedCost
from onnxprune.core.stage import Bench, Pass
from onnxprune.cost import planned_costs
from onnxprune.graph import Model
from onnxprune.groups import Analysis

__all__ = ["SignPlan"]


@dataclass(frozen=True)
class SignPlan(Pass):
    """Edits "plan".

    Attributes:
        options: Every option that the decision may depend on, as JSON values; those that are null are left out.
        budgets: What was to be met.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    budgets: tuple[Budget, ...] = ()

    name = "sign_plan"
    needs = ("original_costs", "model", "analysis", "plan")
    edits = ("plan",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Writes it down."""
        plan, before = bench.take("plan", Plan), bench.take("original_costs", dict)
        after = planned_costs(bench.take("analysis", Analysis), bench.take("model", Model), plan)
        costs = {name: PlannedCost(float(before[name]), cost) for name, cost in after.items()}
        known = replace(
            plan,
            options={name: value for name, value in self.options.items() if value is not None},
            tool_version=__version__,
            budgets=self.budgets,
            costs=costs,
        )
        return {"plan": known.signed()}
