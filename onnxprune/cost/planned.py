"""What a plan makes of a model's costs, before anything is cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxprune.core.plan import Plan
from onnxprune.core.tiling import TiledLayer
from onnxprune.cost.memory import memory_polynomials
from onnxprune.cost.registry import COSTS
from onnxprune.cost.tiled import tiled_cost
from onnxprune.groups import find_tile_sites, node_label

if TYPE_CHECKING:
    from onnxprune.graph import Model
    from onnxprune.groups import Analysis

__all__ = ["COUNTED", "planned_costs"]

COUNTED = ("flops", "params", "size", "memory")
"""Resources that can be counted; latency is measured."""


def planned_costs(analysis: Analysis, model: Model, plan: Plan) -> dict[str, float]:
    """Returns resource of `COUNTED` → cost of one sample once the plan is carried out.

    Tiles count as packed, in whichever form a layer is written later; single zeros (N:M) save nothing.

    Args:
        analysis: The analysis of `model`.
        model: The model before surgery.
        plan: Of the analysis' groups.
    """
    counts = {name: len(kept) for name, kept in plan.kept.items()}
    found = {name: float(COSTS.get(name)().polynomial(analysis, model)(counts)) for name in ("flops", "params", "size")}
    found["memory"] = max((float(cost(counts)) for cost in memory_polynomials(analysis, model).values()), default=0.0)
    saved = _saved(analysis, model, plan, counts)
    return {name: cost - saved.get(name, 0.0) for name, cost in found.items()}


def _saved(analysis: Analysis, model: Model, plan: Plan, counts: dict[str, int]) -> dict[str, float]:
    """Returns resource → what goes with the tiles."""
    layers = [layer for layer in plan.tiling.layers if isinstance(layer, TiledLayer)]
    if not layers:
        return {}
    sites = {site.node: site for site in find_tile_sites(analysis).sites}
    weights, nodes = model.initializers(), {node_label(node): node for node in model.nodes}
    found: dict[str, float] = {}
    for layer in layers:
        cost = tiled_cost(
            sites[layer.node],
            weights[layer.weight],
            nodes[layer.node],
            (layer.inputs, layer.outputs),
            (layer.block, layer.tile),
            float(analysis.node_macs[layer.node](counts)),
        )
        for name, value in cost.saved(layer.kept_blocks).items():
            found[name] = found.get(name, 0.0) + value
    return found
