"""What a plan does to the options of a run: those of making one, and those of carrying one out.

Whatever decides which channels and tiles stay belongs to the plan. A run that carries one out takes these options from
it, so that its report and the model say what led there; options that come after the decision are the run's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnxprune.core.budget import RESOURCES
from onnxprune.core.errors import InputError, UsageError
from onnxprune.core.plan import Plan
from onnxprune.recipe.compress import Recipe
from onnxprune.recipe.curve import lists_budgets

__all__ = ["DECIDED", "Planning", "follow", "planning_options"]

DECIDED = (
    "allocator",
    "criterion",
    "criterion_reduce",
    "criterion_normalize",
    "approximate",
    "align",
    "search_epochs",
    "search_constraint",
    "search_masks",
    "pattern",
    "block",
    "saliency",
    "permute",
)
"""Options that a plan has decided by, beside its budgets."""
_PLACES = ("out", "report", "run_dir", "resume")


class Planning(Recipe):
    """The options of making a plan: those of the run that it is for, up to the decision; `out` is the plan's."""

    @property
    def out_path(self) -> Path | None:
        """`out`, where unset `<stem>.plan.json` in the current folder; None for a model in memory."""
        if self.out is not None:
            return self.out
        return Path(f"{self.model.stem}.plan.json") if isinstance(self.model, Path) else None

    @property
    def report_path(self) -> Path | None:
        """None: a plan is its own report."""
        return None

    @property
    def run_path(self) -> Path | None:
        """None: nothing is kept beside the plan."""
        return None

    def check_together(self) -> None:
        """Checks what no single option shows.

        Raises:
            UsageError: when the options do not go together.
        """
        if self.plan is not None:
            raise UsageError(
                "A plan is made here, and none is carried out: leave --plan out, or use `onnxprune apply`."
            )
        for name, asked in (("--search-carry", self.search_carry), ("--from-scratch", self.from_scratch)):
            if asked:
                raise UsageError(
                    f"{name} goes on from weights that learned during the search, and a plan holds no weights. Leave "
                    "it out, or use `onnxprune compress`."
                )
        for name, count, usual in (("--phases", self.phases, 1), ("--dense-epochs", self.dense_epochs, 0)):
            if count != usual:
                raise UsageError(
                    f"{name} {count} decides on weights that are trained meanwhile, and planning trains none. Leave it "
                    "out, or use `onnxprune compress`, whose --run-dir keeps the plan it ended with."
                )
        super().check_together()


def planning_options(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of making a plan from those of a recipe, with `given` laid over them.

    Where a recipe's run goes is not where the plan goes.

    Args:
        base: Options of a recipe; budgets of one run.
        given: Options that were given here; None stands for "not given".

    Raises:
        UsageError: when a budget lists several values.
    """
    options = {name: value for name, value in base.items() if name not in _PLACES}
    options |= {name: value for name, value in given.items() if value is not None}
    if lists_budgets(options):
        raise UsageError("A plan is for one value of each budget. Make one plan for each point of a curve.")
    return options


def follow(recipe: Recipe, plan: Plan, source: str) -> Recipe:
    """Returns the options of a run that carries a plan out, with what the plan was made with.

    Budgets of the run stay; where it has none, those of the plan are recorded, unless it was changed by hand.

    Args:
        recipe: The run, with a plan.
        plan: That plan.
        source: Where it was read, as messages name it.

    Raises:
        UsageError: when an option contradicts the plan.
        InputError: when the plan's options are none.
    """
    told: dict[str, Any] = {}
    for name in DECIDED:
        usual, given = Recipe.model_fields[name].default, getattr(recipe, name)
        told[name] = plan.options.get(name, usual)
        if given not in (usual, told[name]):
            flag, switch = name.replace("_", "-"), isinstance(given, bool)
            said = f"--{'' if given else 'no-'}{flag}" if switch else f"--{flag} {given}"
            made = "without it" if switch else f"with {told[name]}"
            raise UsageError(f"{said}: {source} was made {made}. Leave it out, or make another plan.")
    if plan.tiling.layers and told["pattern"] == "channels":
        told["pattern"] = "tiles"
    told["approximate"] = plan.is_approximate
    recorded = {budget.resource: budget for budget in plan.budgets}
    if recipe.latency is not None and recipe.latency != recorded.get("latency"):
        raise UsageError(
            "--latency is measured, and a plan decides without measuring again. Bound what it comes to with "
            "--gate 'latency_ratio<=0.6', or make another plan."
        )
    if not recipe.budgets and plan.as_decided:
        told |= {resource: recorded[resource] for resource in RESOURCES if resource in recorded}
    try:
        return Recipe.from_mapping(dict(recipe) | told)
    except UsageError as error:
        raise InputError(f"{source}, options: {error}") from error
