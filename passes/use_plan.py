"""use_plan: what a plan says that was decided before; nothing is scored or allocated.

A plan names groups of one model. It is held against the groups that are found in the model at hand, and where it
does not fit, it is refused: a channel of another group would be another channel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from onnxprune.core.allocation import Allocation
from onnxprune.core.budget import Budget
from onnxprune.core.errors import BudgetError, InputError
from onnxprune.core.plan import Plan
from onnxprune.core.stage import Bench, Pass
from onnxprune.cost import human_cost, planned_costs
from onnxprune.cost.human import percent
from onnxprune.graph import Model
from onnxprune.groups import Analysis, ConcreteShapes, FreeOrders, find_tile_sites, free_orders

__all__ = ["UsePlan"]

_SHOWN = 4


@dataclass(frozen=True)
class UsePlan(Pass):
    """Gives "plan" and "allocation"; "free_orders", too, where the plan has tiles.

    Attributes:
        plan: The plan.
        source: Where it was read, as messages name it.
        budgets: Bounds that it has to keep to; what was asked when it was made is not held against it.
    """

    plan: Plan
    source: str = "the plan"
    budgets: Sequence[Budget] = ()

    name = "use_plan"
    needs = ("original_costs", "model", "analysis", "shapes")
    gives = ("plan", "allocation")
    edits = ("free_orders",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Checks.

        Raises:
            InputError: when the plan does not fit the model.
            BudgetError: when it costs more than a budget allows.
        """
        analysis, model = bench.take("analysis", Analysis), bench.take("model", Model)
        plan = self._fitted(analysis)
        tiles: Mapping[str, Any] = {}
        if plan.tiling.layers:
            view = free_orders(model, bench.take("shapes", ConcreteShapes), analysis, plan)
            self._check_tiles(plan, view)
            tiles = {"free_orders": view}
        limits = {b.resource: b.limit(bench.take("original_costs", dict)[b.resource]) for b in self.budgets}
        costs = planned_costs(analysis, model, plan)
        for resource, limit in limits.items():
            if costs[resource] > limit * (1 + 1e-9):
                raise BudgetError(self._too_much(resource, costs[resource], limit))
        counts = {name: len(kept) for name, kept in plan.kept.items()}
        return {"plan": plan, "allocation": Allocation(counts, costs, limits), **tiles}

    def _fitted(self, analysis: Analysis) -> Plan:
        """Returns the plan of the model's groups; frozen axes that it names as whole are left out."""
        plan, sizes = self.plan, analysis.sizes
        frozen = {axis.name: axis for axis in analysis.frozen}
        strangers = [name for name in plan.sizes if name not in sizes]
        for name in strangers:
            if name not in frozen:
                continue
            if len(plan.kept[name]) < plan.sizes[name]:
                raise self._misfit(
                    f"it takes channels of {name!r}, which stay as they are in this model: {frozen[name].reasons[0]}."
                )
        unknown = [name for name in strangers if name not in frozen]
        if unknown:
            raise self._misfit(f"the model has no {_listed('group', unknown)}. It has {_listed('group', sizes)}.")
        missing = [name for name in sizes if name not in plan.sizes]
        if missing:
            raise self._misfit(f"it says nothing of {_listed('group', missing)}, which the model has.")
        for name, size in sizes.items():
            if plan.sizes[name] != size:
                raise self._misfit(f"group {name!r} has {plan.sizes[name]} channels in it, and {size} in the model.")
        return replace(plan, sizes=sizes, kept={name: plan.kept[name] for name in sizes})

    def _check_tiles(self, plan: Plan, view: FreeOrders) -> None:
        """Checks which layers are cut, and which channels change places; `check_tiles` does the rest."""
        sites, known = find_tile_sites(view.analysis), view.analysis.sizes
        by_node = {site.node: site for site in sites.sites}
        for layer in plan.tiling.layers:
            site = by_node.get(layer.node)
            if site is None:
                why = sites.refused.get(layer.node, "the model has no such layer")
                raise self._misfit(f"it cuts {layer.node!r} into tiles, which cannot be: {why}.")
            told = (layer.weight, layer.operator, layer.input_axis)
            if told != (site.weight, site.operator, site.input_axis):
                raise self._misfit(
                    f"it takes {layer.node!r} for a {layer.operator} with the weight {layer.weight!r}, contracted over "
                    f"axis {layer.input_axis}; here it is a {site.operator} with {site.weight!r} and axis "
                    f"{site.input_axis}."
                )
        for name, order in plan.tiling.orders.items():
            if len(order) != known.get(name):
                has = f"{known[name]} channels" if name in known else "no such group"
                raise self._misfit(f"it puts {len(order)} channels of {name!r} in order, and the model has {has}.")
            left = view.left.get(name)
            if left is not None and {order[place] for place in left} != set(left):
                raise self._misfit(f"the order of {name!r} puts channels that stay where others go.")

    def _misfit(self, why: str) -> InputError:
        return InputError(f"{self.source} does not fit: {why}")

    def _too_much(self, resource: str, cost: float, limit: float) -> str:
        return (
            f"{self.source} does not meet the budget --{resource}: {human_cost(resource, cost)} are left by it, "
            f"{percent(cost / limit)} of the {human_cost(resource, limit)} that are allowed. Leave the budget out, or "
            "make another plan for it."
        )


def _listed(kind: str, names: Mapping[str, Any] | Sequence[str]) -> str:
    """Returns "groups 'a', 'b' and 3 more"."""
    shown, more = list(names)[:_SHOWN], len(names) - _SHOWN
    text = ", ".join(map(repr, shown)) + (f" and {more} more" if more > 0 else "")
    return f"{kind}{'s' * (len(names) != 1)} {text or '(none)'}"
