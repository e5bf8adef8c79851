"""A plan as tables: what it costs against its budgets, and what each group and layer keeps."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from onnxprune.core.plan import Plan
from onnxprune.core.tiling import CutLayer, TiledLayer
from onnxprune.cost.human import human_cost, percent
from onnxprune.report.schema import GroupRecord
from onnxprune.report.terminal import groups_table

__all__ = ["render_plan"]

_FOLD = 12
_CALLED = {"flops": "MACs", "params": "parameters", "size": "bytes of weights", "memory": "activations at once"}


def render_plan(plan: Plan, path: Path | None, *, verbose: bool = False) -> RenderableType:
    """Returns everything the terminal shows of `plan`.

    Args:
        plan: The plan.
        path: Where it was written, or None.
        verbose: Whether long lists are shown in full.
    """
    parts: list[RenderableType] = [_costs(plan)]
    if any(len(plan.kept[name]) < size for name, size in plan.sizes.items()) or not plan.tiling.layers:
        parts.append(groups_table(_groups(plan), verbose=verbose))
    if plan.tiling.layers:
        parts.append(_tiles(plan, verbose=verbose))
    if path is not None:
        parts.append(Text(f"The plan was written to {path}. Nothing was pruned: `onnxprune apply` carries it out."))
    return Group(*parts)


def _costs(plan: Plan) -> Table:
    table = Table(title=Text("What the plan costs", style="bold"), title_justify="left", box=box.SIMPLE_HEAD,
                  pad_edge=False)  # fmt: skip
    table.add_column("", overflow="fold")
    for column in ("original", "planned", "share", "allowed", "used"):
        table.add_column(column, justify="right", no_wrap=True)
    budgets = {budget.resource: budget for budget in plan.budgets}
    for resource, cost in plan.costs.items():
        limit = budgets[resource].limit(cost.original) if resource in budgets else None
        cells = (
            _CALLED[resource],
            human_cost(resource, cost.original),
            human_cost(resource, cost.planned),
            percent(cost.planned / cost.original) if cost.original else "–",
            "–" if limit is None else human_cost(resource, limit),
            "–" if not limit else percent(cost.planned / limit),
        )
        table.add_row(*map(Text, cells))
    if "latency" in budgets:
        # a figure of another moment would say less than the note that tells how it was met
        table.add_row(*map(Text, ("latency", "–", "–", "–", str(budgets["latency"]), "timed")))
    return table


def _groups(plan: Plan) -> list[GroupRecord]:
    return [
        GroupRecord(name=name, size=size, kept=len(plan.kept[name]), approximate=plan.approximate.get(name, ""))
        for name, size in plan.sizes.items()
    ]


def _tiles(plan: Plan, *, verbose: bool) -> Table:
    layers = plan.tiling.layers
    table = Table(title=Text("Tiles kept", style="bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("layer", overflow="fold")
    for column in ("kept", "of", "share", "block"):
        table.add_column(column, justify="right", no_wrap=True)
    for layer in layers if verbose else layers[:_FOLD]:
        kept, blocks, block = _cut(layer)
        table.add_row(*map(Text, (layer.node, str(kept), str(blocks), percent(kept / blocks), block)))
    if not verbose and len(layers) > _FOLD:
        table.add_row(Text(f"… and {len(layers) - _FOLD} more"), "", "", "", "", style="dim")
    return table


def _cut(layer: CutLayer) -> tuple[int, int, str]:
    """Returns what each output keeps, of how many, and the form of the cut."""
    if isinstance(layer, TiledLayer):
        return layer.kept_blocks, layer.blocks, f"{layer.block} × {layer.tile}"
    return layer.kept_inputs, layer.inputs, f"{layer.n}:{layer.m}"
