"""A plan that a run carries out: read, and laid over the options of the run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from onnxprune.core.budget import Budget
from onnxprune.core.plan import Plan, named_plan
from onnxprune.passes.match_plan import MatchPlan
from onnxprune.passes.use_plan import UsePlan
from onnxprune.pipeline.words import command_line
from onnxprune.recipe import Recipe, follow
from onnxprune.recipe.planning import DECIDED
from onnxprune.report.schema import PlanRecord

__all__ = ["Followed", "followed"]


@dataclass(frozen=True)
class Followed:
    """A plan and the run that carries it out.

    Attributes:
        plan: The plan.
        source: Where it was read, as messages name it.
        recipe: The options of the run, with those that the plan was made with.
        bounds: Budgets that were asked of this run, which the plan has to keep to; time is none of them.
        command: The command that repeats the run.
    """

    plan: Plan
    source: str
    recipe: Recipe
    bounds: tuple[Budget, ...]
    command: str

    def use(self) -> UsePlan:
        """Returns the pass that takes the place of deciding."""
        return UsePlan(self.plan, self.source, self.bounds)

    def match(self) -> MatchPlan:
        """Returns the pass that follows the import of the model."""
        return MatchPlan(self.plan, self.source, self.recipe.other_weights)

    def record(self) -> PlanRecord:
        """Returns what the report says of the plan."""
        plan = self.plan
        return PlanRecord(
            file=self.source if isinstance(self.recipe.plan, Path) else "",
            model_sha256=plan.model_sha256,
            tool_version=plan.tool_version,
            as_decided=plan.as_decided,
        )


def followed(recipe: Recipe) -> Followed | None:
    """Returns the plan that a run carries out; None for a run that decides.

    Raises:
        InputError: when the plan cannot be read.
        UsageError: when an option contradicts it.
    """
    if recipe.plan is None:
        return None
    plan, source = named_plan(recipe.plan)
    usual = {name: Recipe.model_fields[name].default for name in DECIDED}
    return Followed(
        plan,
        source,
        follow(recipe, plan, source),
        tuple(budget for budget in recipe.budgets if budget.resource != "latency"),
        command_line("apply", recipe.model_copy(update=usual), ("model", "plan")),
    )
