"""plan_tiles: which tiles of which weights stay, and in which order of channels.

Channels have gone by now. Each weight that can be cut gets blocks and tiles that divide it; channels of coupled
groups are put in an order under which small weights meet (TETRIS, Ji et al. 2018); the budget is shared
out over the ranks of blocks (`onnxprune.tiles.levels`), and the best blocks of each tile stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from onnxprune.allocate import ALLOCATORS, Problem
from onnxprune.core.allocation import Allocation
from onnxprune.core.budget import Budget
from onnxprune.core.errors import ModelError
from onnxprune.core.phases import Phase
from onnxprune.core.plan import Plan
from onnxprune.core.stage import Bench, Pass
from onnxprune.core.tile_site import TileSite
from onnxprune.core.tiling import TiledLayer, Tiling
from onnxprune.cost import COSTS
from onnxprune.cost.size import element_bytes
from onnxprune.criteria.base import Unit
from onnxprune.graph import Model
from onnxprune.groups import Analysis, ConcreteShapes, FreeOrders, find_tile_sites, free_orders, node_label
from onnxprune.tiles import BalancedTiles, Found, SearchOptions, block_sums, measure_saliency, search
from onnxprune.tiles.arrays import Floats
from onnxprune.tiles.blocks import BlockOption, fit_block
from onnxprune.tiles.levels import Level, level_costs, level_groups, level_worth
from onnxprune.tiles.network import as_matrix, make_members
from onnxprune.train.bench import find_samples
from onnxprune.trial.probe import Probe

__all__ = ["PlanTiles", "Saliency", "entry_worth", "take_free_orders"]

Saliency = Literal["auto", "magnitude", "fisher"]
RESOURCES = ("flops", "params", "size")
_INDEX_BYTES = 8
_SHOWN = 8
_KICKS = ((1e6, 8), (4e6, 2), (float("inf"), 0))
_QUICK = SearchOptions(starts=("none", "sorted", "soft"), kicks=0)


@dataclass(frozen=True)
class _Layer:
    """A weight that can be cut, as it is by now."""

    site: TileSite
    inputs: int
    outputs: int
    block: int
    tile: int
    dense: Mapping[str, float]
    each: Mapping[str, float]
    fixed: Mapping[str, float]

    @property
    def blocks(self) -> int:
        return self.inputs // self.block


@dataclass(frozen=True)
class PlanTiles(Pass):
    """Gives "tile_allocation", of blocks to layers; edits "plan" by its tiling.

    Attributes:
        budgets: What the slim model may cost; all must hold.
        allocator: Name of an allocator that needs no data.
        block: Inputs and outputs of a block; None for what suits the operator.
        saliency: What an entry is worth: "magnitude", "fisher" (what the outputs lose with it, on data), or "auto",
            which is fisher where there are data that the model can be differentiated on.
        permute: Whether channels may change places.
        seed: Of the search for orders, and of what is drawn for "fisher".
        phase: Which phase of how many; later ones keep the orders of the first.
        options: Of the search; None for what the size of the weights allows.
    """

    budgets: tuple[Budget, ...]
    allocator: str = "global"
    block: BlockOption = None
    saliency: Saliency = "auto"
    permute: bool = True
    seed: int = 0
    phase: Phase = field(default_factory=Phase)
    options: SearchOptions | None = None

    name = "plan_tiles"
    needs = ("original", "model", "analysis", "shapes", "plan", "slim")
    gives = ("tile_allocation",)
    edits = ("plan",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Plans.

        Raises:
            ModelError: when no weight can be cut; the reasons are listed.
            BudgetError: when no tiling meets the budgets; the reachable range is printed.
        """
        view, slim = take_free_orders(bench), bench.take("slim", Model)
        layers = self._layers(bench, view, slim)
        matrices, unit = entry_worth(bench, slim, [layer.site for layer in layers], self.saliency, self.seed)
        earlier = bench.find("tiling", Tiling)
        permute = self.permute and earlier is None
        problem = self._problem(bench, view, layers, matrices, unit, None)
        even = ALLOCATORS.get("uniform")().solve(problem)
        found = self._found(view, layers, matrices, even, _QUICK, permute=permute)
        problem = self._problem(bench, view, layers, matrices, unit, found)
        allocation = ALLOCATORS.get(self.allocator)().solve(problem)
        for note in allocation.notes:
            bench.note(note)
        options = self.options or _effort(layers)
        found = self._found(view, layers, matrices, allocation, options, permute=permute)
        kept = [_tiled(layer, found) for layer in layers if allocation.kept[layer.site.node] < layer.blocks]
        orders = view.lifted(found.orders) if earlier is None else earlier.orders
        tiling = Tiling(tuple(kept), {name: tuple(int(i) for i in order) for name, order in orders.items()})
        return {"tile_allocation": allocation, "plan": replace(bench.take("plan", Plan), tiling=tiling)}

    def _layers(self, bench: Bench, view: FreeOrders, slim: Model) -> list[_Layer]:
        sites = find_tile_sites(view.analysis)
        weights, found, refused = slim.initializers(), [], dict(sites.refused)
        for site in sites.sites:
            shape = [int(n) for n in weights[site.weight].shape]
            inputs, outputs = shape[site.input_axis], shape[site.output_axis]
            block = fit_block(site.operator, inputs, outputs, self.block)
            if isinstance(block, str):
                refused[site.node] = block
                continue
            found.append(_layer(site, inputs, outputs, block, view, slim))
        if not found:
            reasons = [f"'{node}': {why}" for node, why in refused.items()]
            more = f"; and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else ""
            raise ModelError(
                f"No weight of this model can be cut into tiles. {'; '.join(reasons[:_SHOWN]) or 'There are none'}"
                f"{more}. Use --pattern channels."
            )
        if refused:
            counts = Counter(refused.values()).most_common()
            shown = "; ".join(f"{why} ({count})" for why, count in counts[:_SHOWN])
            more = f"; and {len(counts) - _SHOWN} more reasons" if len(counts) > _SHOWN else ""
            bench.note(f"{len(refused)} of {len(refused) + len(found)} layers stay whole: {shown}{more}.")
        return found

    def _problem(
        self,
        bench: Bench,
        view: FreeOrders,
        layers: list[_Layer],
        matrices: Mapping[str, Floats],
        unit: Unit,
        found: Found | None,
    ) -> Problem:
        """Returns what the allocator is given: a group for each layer, of as many channels as it has blocks."""
        levels = tuple(Level(layer.site.node, layer.blocks, layer.dense, layer.each) for layer in layers)
        whole = {
            name: float(COSTS.get(name)().polynomial(view.analysis, bench.take("model", Model))(view.counts))
            for name in RESOURCES
        }
        costs = level_costs(
            levels, {name: cost + sum(layer.fixed.get(name, 0.0) for layer in layers) for name, cost in whole.items()}
        )
        original = bench.find("original_costs", dict) or {}
        limits = {
            budget.resource: self.phase.limit(
                budget.limit(original.get(budget.resource, whole[budget.resource])), whole[budget.resource]
            )
            for budget in self.budgets
        }
        worth = {layer.site.node: _worth(layer, matrices[layer.site.weight], found, unit) for layer in layers}
        return Problem(level_groups(levels), worth, costs, limits, 1, unit=unit)

    def _found(
        self,
        view: FreeOrders,
        layers: list[_Layer],
        matrices: Mapping[str, Floats],
        allocation: Allocation,
        options: SearchOptions,
        *,
        permute: bool,
    ) -> Found:
        """Returns the orders under which an allocation prunes least, and what each layer keeps in them."""
        patterns = {
            layer.site.weight: BalancedTiles(layer.block, layer.tile, allocation.kept[layer.site.node] / layer.blocks)
            for layer in layers
        }
        members = make_members(
            view.analysis, [layer.site for layer in layers], matrices, patterns, counts=view.counts, fixed=not permute
        )
        return search(members, options, np.random.default_rng(self.seed))


def _layer(site: TileSite, inputs: int, outputs: int, block: tuple[int, int], view: FreeOrders, slim: Model) -> _Layer:
    """Returns a weight with what it costs: dense, for each block that its tiles keep, and however many they keep."""
    size, tile = block
    element = element_bytes(slim.initializers()[site.weight])
    node = next(node for node in slim.nodes if node_label(node) == site.node)
    has_bias = len(node.inputs) > 2 and bool(node.inputs[2].name)
    macs, tiles = float(view.analysis.node_macs[site.node](view.counts)), -(-outputs // tile)
    params, stored = float(inputs * outputs * site.taps), float(tiles * tile * size * site.taps)
    dense = {"flops": macs, "params": params, "size": params * element}
    padded = tiles * tile / outputs
    each = {"flops": macs * padded * size / inputs, "params": stored, "size": stored * element + _INDEX_BYTES * tiles}
    # a packed bias is as long as its tiles, and a packed product of matrices has one in any case
    longer = float(tiles * tile - outputs * has_bias) if has_bias or site.operator == "MatMul" else 0.0
    fixed = {"params": longer, "size": longer * element}
    return _Layer(site, inputs, outputs, size, tile, dense, each, fixed)


def entry_worth(
    bench: Bench, model: Model, sites: Sequence[TileSite], saliency: Saliency, seed: int
) -> tuple[dict[str, Floats], Unit]:
    """Returns weight → what its entries are worth, summed over the kernel, float64 [K, N]; and in which unit.

    Args:
        bench: Holds "analysis", and perhaps "data".
        model: Holds the weights.
        sites: What is asked for.
        saliency: "magnitude", "fisher" or "auto".
        seed: Of what is drawn for fisher.
    """
    data = find_samples(bench, "data") if saliency != "magnitude" else None
    if data is not None:
        probe = Probe(model, bench.take("analysis", Analysis), data, seed=seed)
        try:
            losses = probe.entry_losses(site.weight for site in sites)
        except ModelError as error:
            bench.note(f"Entries of weights are worth their magnitude, because gradients cannot be taken: {error}")
        else:
            return {site.weight: as_matrix(losses[site.weight], site).sum(axis=2) for site in sites}, "loss"
    wide = {site.weight: as_matrix(model.read(site.weight).astype(np.float64), site) for site in sites}
    return {name: measure_saliency(matrix) for name, matrix in wide.items()}, "share"


def take_free_orders(bench: Bench) -> FreeOrders:
    """Returns the groups whose order is free, of what the run's plan leaves."""
    return free_orders(
        bench.take("model", Model),
        bench.take("shapes", ConcreteShapes),
        bench.take("analysis", Analysis),
        bench.take("plan", Plan),
    )


def _worth(layer: _Layer, matrix: Floats, found: Found | None, unit: Unit) -> Floats:
    """Returns what each rank of a layer's blocks is worth, float64 [blocks], descending."""
    pattern = BalancedTiles(layer.block, layer.tile, 1.0)
    orders = () if found is None else (found.members[layer.site.weight].rows, found.members[layer.site.weight].columns)
    worth = level_worth(block_sums(pattern, matrix, *orders))
    mean = float(worth.mean())
    return worth / mean if unit == "share" and mean > 0 else worth


def _effort(layers: Sequence[_Layer]) -> SearchOptions:
    """Returns how long to search: wide layers gain little from kicks, and pay most for them."""
    entries = sum(layer.inputs * layer.outputs for layer in layers)
    kicks = next(kicks for limit, kicks in _KICKS if entries <= limit)
    return SearchOptions(kicks=kicks) if kicks else _QUICK


def _tiled(layer: _Layer, found: Found) -> TiledLayer:
    member = found.members[layer.site.weight]
    kept = tuple(tuple(int(block) for block in np.flatnonzero(tile)) for tile in member.choice.T)
    site = layer.site
    return TiledLayer(
        site.node,
        site.weight,
        site.operator,
        site.input_axis,
        layer.inputs,
        layer.outputs,
        layer.block,
        layer.tile,
        kept,
        site.spatial,
    )
