"""A plan as tables: what it costs against its budgets, and what each group and layer keeps."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from onnxprune.core.plan import Plan
from onnxprune.core.tiling import CutLayer, TiledLayer
from onnxprune.cost.human import human_cost, human_number, percent

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
        parts.append(_groups(plan, verbose=verbose))
    if plan.tiling.layers:
        parts.append(_tiles(plan, verbose=verbose))
    if path is not None:
        parts.append(Text(f"The plan was written to {path}. Nothing was pruned: `onnxprune apply` carries it out."))
    return Group(*parts)


def _costs(plan: Plan) -> Table:
    table = _table("What the plan costs", "", "original", "planned", "share", "allowed", "used")
    budgets = {budget.resource: budget for budget in plan.budgets}
    for resource, cost in plan.costs.items():
        limit = budgets[resource].limit(cost.original) if resource in budgets else None
        cells = (
            _CALLED[resource],
            _amount(resource, cost.original),
            _amount(resource, cost.planned),
            percent(cost.planned / cost.original) if cost.original else "–",
            "–" if limit is None else _amount(resource, limit),
            "–" if not limit else percent(cost.planned / limit),
        )
        table.add_row(*map(Text, cells))
    if "latency" in budgets:
        # a figure of another moment would say less than the note that tells how it was met
        table.add_row(*map(Text, ("latency", "–", "–", "–", str(budgets["latency"]), "timed")))
    return table


def _amount(resource: str, value: float) -> str:
    """Returns a cost under a row that names its unit."""
    return human_number(value) if resource in ("flops", "params") else human_cost(resource, value)


def _groups(plan: Plan, *, verbose: bool) -> Table:
    rows = [(name, len(plan.kept[name]), size, "") for name, size in plan.sizes.items()]
    return _kept("Channels kept", ("group", "kept", "of", "share"), rows, verbose=verbose)


def _tiles(plan: Plan, *, verbose: bool) -> Table:
    rows = [(layer.node, *_cut(layer)) for layer in plan.tiling.layers]
    return _kept("Tiles kept", ("layer", "kept", "of", "share", "block"), rows, verbose=verbose)


def _kept(title: str, columns: tuple[str, ...], rows: list[tuple[str, int, int, str]], *, verbose: bool) -> Table:
    """Returns a row for each of (name, kept, of how many, form of the cut); columns without a title are left out."""
    table = _table(title, *columns)
    for name, kept, size, form in rows if verbose else rows[:_FOLD]:
        cells = (name, str(kept), str(size), percent(kept / size), form)
        table.add_row(*map(Text, cells[: len(columns)]))
    if not verbose and len(rows) > _FOLD:
        table.add_row(Text(f"… and {len(rows) - _FOLD} more, with -v"), style="dim")
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=Text(title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(columns[0], overflow="fold")
    for column in columns[1:]:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _cut(layer: CutLayer) -> tuple[int, int, str]:
    """Returns what each output keeps, of how many, and the form of the cut."""
    if isinstance(layer, TiledLayer):
        return layer.kept_blocks, layer.blocks, f"{layer.block} × {layer.tile}"
    return layer.kept_inputs, layer.inputs, f"{layer.n}:{layer.m}"
