"""plan_tiles: which tiles of which weights stay, and in which order of channels.

Channels have gone by now. Each weight that can be cut gets blocks and tiles that divide it; channels of coupled
groups are put in an order under which small weights meet (TETRIS, Ji et al. 2018); the budget is shared
out over the ranks of blocks (`onnxprune.tiles.levels`), and the best blocks of each tile stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from onnxprune.allocate import ALLOCATORS, Problem, allocate, counts_worth
from onnxprune.core.allocation import Allocation
from onnxprune.core.budget import Budget
from onnxprune.core.errors import InternalError, ModelError
from onnxprune.core.phases import Phase
from onnxprune.core.plan import Plan
from onnxprune.core.search import LEARNING
from onnxprune.core.search import SearchOptions as RatioOptions
from onnxprune.core.shares import normalised
from onnxprune.core.stage import Bench, Pass
from onnxprune.core.tile_options import BlockOption, Saliency
from onnxprune.core.tile_site import TileSite
from onnxprune.core.tiling import TiledLayer, Tiling
from onnxprune.cost import COSTS
from onnxprune.cost.tiled import TiledCost, tiled_cost
from onnxprune.criteria.base import Unit
from onnxprune.graph import Model
from onnxprune.groups import Analysis, ConcreteShapes, FreeOrders, find_tile_sites, free_orders, node_label
from onnxprune.passes.entry_worth import entry_worth
from onnxprune.passes.open_search import Ground
from onnxprune.passes.score_tiles import TileLevels, level_name
from onnxprune.passes.time_tiles import TileGains
from onnxprune.tiles import BalancedTiles, Found, SearchOptions, block_sums, search
from onnxprune.tiles.arrays import Floats
from onnxprune.tiles.blocks import fit_block
from onnxprune.tiles.levels import Level, entry_ranks, level_costs, level_groups, level_worth
from onnxprune.tiles.network import from_matrix, make_members
from onnxprune.trial.block_gates import BlockGate, BlockGates
from onnxprune.trial.supernet import SupernetOptions

__all__ = ["PlanTiles", "take_free_orders"]

RESOURCES = ("flops", "params", "size")
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
    cost: TiledCost

    @property
    def blocks(self) -> int:
        return self.inputs // self.block


@dataclass(frozen=True)
class PlanTiles(Pass):
    """Gives "tile_allocation", of blocks to layers, and "free_orders"; edits "plan" by its tiling.

    Attributes:
        budgets: What the slim model may cost; all must hold.
        allocator: Name of the allocator; "auto" is "dsa" where densities can learn, "knapsack" where entries are
            scored by losses, else "global". What one that learns found for channels and tiles together is kept to.
        block: Inputs and outputs of a block; None for what suits the operator.
        saliency: What an entry is worth: "magnitude", "fisher" (what the outputs lose with it, on data), or "auto",
            which is fisher where there are data that the model can be differentiated on.
        permute: Whether channels may change places.
        seed: Of the search for orders, and of what is drawn for "fisher".
        phase: Which phase of how many; later ones keep the orders of the first.
        options: Of the search for orders; None for what the size of the weights allows.
        learning: How weights learn while keep ratios do.
        ratios: How keep ratios learn.
        batchnorm: Whether a folded net gets normalisation to learn with.
    """

    budgets: tuple[Budget, ...]
    allocator: str = "auto"
    block: BlockOption = None
    saliency: Saliency = "auto"
    permute: bool = True
    seed: int = 0
    phase: Phase = field(default_factory=Phase)
    options: SearchOptions | None = None
    learning: SupernetOptions | None = None
    ratios: RatioOptions = field(default_factory=RatioOptions)
    batchnorm: bool = True

    name = "plan_tiles"
    needs = ("original", "model", "analysis", "shapes", "plan", "slim")
    gives = ("tile_allocation", "free_orders")
    edits = ("plan",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Plans.

        Raises:
            ModelError: when no weight can be cut; the reasons are listed.
            BudgetError: when no tiling meets the budgets; the reachable range is printed.
        """
        view, slim = take_free_orders(bench), bench.take("slim", Model)
        layers = self._layers(bench, view, slim)
        if not layers:
            return {"tile_allocation": Allocation({}, {}, {}), "free_orders": view, "plan": bench.take("plan", Plan)}
        matrices, unit = entry_worth(bench, slim, [layer.site for layer in layers], self.saliency, self.seed)
        earlier = bench.find("tiling", Tiling)
        permute = self.permute and earlier is None
        problem = self._problem(bench, view, layers, _scores(layers, matrices, unit, None), unit)
        even = ALLOCATORS.get("uniform")().solve(problem)
        found = self._found(view, layers, matrices, even, _QUICK, permute=permute)
        problem = replace(problem, scores=_scores(layers, matrices, unit, found))
        allocation = self._allocation(bench, problem, layers, matrices, found)
        for note in allocation.notes:
            bench.note(note)
        options = self.options or _effort(layers)
        found = self._found(view, layers, matrices, allocation, options, permute=permute)
        kept = [_tiled(layer, found) for layer in layers if allocation.kept[layer.site.node] < layer.blocks]
        orders = view.lifted(found.orders) if earlier is None else earlier.orders
        tiling = Tiling(tuple(kept), {name: tuple(int(i) for i in order) for name, order in orders.items()})
        plan = replace(bench.take("plan", Plan), tiling=tiling)
        return {"tile_allocation": allocation, "free_orders": view, "plan": plan}

    def _allocation(
        self, bench: Bench, problem: Problem, layers: list[_Layer], matrices: Mapping[str, Floats], found: Found
    ) -> Allocation:
        """Returns how many blocks each layer keeps."""
        levels, before = bench.find("tile_levels", TileLevels), bench.take("allocation", Allocation)
        found_before = levels is not None and before.search is not None
        name = self.allocator
        if name == "auto":
            name, does = _preferred(problem.unit, learns=found_before or self.learning is not None)
            bench.note(f"The budget is shared out over tiles by {name}, {does}.")
        if name not in LEARNING:
            return ALLOCATORS.get(name)().solve(problem)
        if levels is not None:
            # channels have gone since, and with them blocks: what was learned are shares
            shares = {group.name: before.kept[group.name] / group.size for group in levels.groups}
            wanted = [layer.blocks * shares.get(level_name(layer.site), 1.0) for layer in layers]
            return allocate(problem, counts_worth(problem, np.array(wanted)))
        if self.learning is None:
            raise InternalError(f"{name} has to be told how to learn")
        ground = Ground.of(bench, bench.take("slim", Model), self.learning, batchnorm=self.batchnorm)
        gates = tuple(_gate(layer, matrices[layer.site.weight], found) for layer in layers)
        searcher = ground.searcher(bench, BlockGates(gates), self.ratios)
        return ALLOCATORS.get(name)().solve(replace(problem, searcher=searcher))

    def _layers(self, bench: Bench, view: FreeOrders, slim: Model) -> list[_Layer]:
        sites = find_tile_sites(view.analysis)
        weights, nodes = slim.initializers(), {node_label(node): node for node in slim.nodes}
        found, refused = [], dict(sites.refused)
        for site in sites.sites:
            weight = weights[site.weight]
            block = fit_block(site.operator, *_lengths(site, weight), self.block)
            if isinstance(block, str):
                refused[site.node] = block
                continue
            macs = float(view.analysis.node_macs[site.node](view.counts))
            found.append(_layer(site, weight, nodes[site.node], block, macs))
        if not found:
            reasons = [f"'{node}': {why}" for node, why in refused.items()]
            more = f"; and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else ""
            raise ModelError(
                f"No weight of this model can be cut into tiles. {'; '.join(reasons[:_SHOWN]) or 'There are none'}"
                f"{more}. Use --pattern channels."
            )
        found = self._worthwhile(bench, view, found, refused)
        if refused:
            counts = Counter(refused.values()).most_common()
            shown = "; ".join(f"{why} ({count})" for why, count in counts[:_SHOWN])
            more = f"; and {len(counts) - _SHOWN} more reasons" if len(counts) > _SHOWN else ""
            bench.note(f"{len(refused)} of {len(refused) + len(found)} layers stay whole: {shown}{more}.")
        return found

    def _worthwhile(
        self, bench: Bench, view: FreeOrders, layers: list[_Layer], refused: dict[str, str]
    ) -> list[_Layer]:
        """Returns the layers that tiles make faster, as far as that was timed; fills in why others stay whole.

        All of them where the faster ones alone would have to give up more than twice of what was timed.
        """
        gains = bench.find("tile_gains", TileGains)
        slower = {} if gains is None else gains.slower
        faster = [layer for layer in layers if layer.site.node not in slower]
        if gains is None or len(faster) == len(layers):
            return layers
        if bench.find("tile_levels", TileLevels) is None:
            if not self._carries(bench, view, faster, gains.density / 2):
                bench.note(
                    f"Tiles make {len(faster)} of {len(layers)} layers faster here, too few to carry the budget: "
                    "they go from all layers, and those that are computed dense in the end keep all of their MACs. "
                    "--pattern channels or both keeps to the budget."
                )
                return layers
        elif not faster:
            bench.note("No layer is computed faster in tiles here: channels alone meet the budget.")
        refused |= {layer.site.node: slower[layer.site.node] for layer in layers if layer.site.node in slower}
        return faster

    def _carries(self, bench: Bench, view: FreeOrders, layers: list[_Layer], density: float) -> bool:
        """Returns whether the budgets are met when layers keep a share of their blocks, and all others everything."""
        if not layers:
            return False
        scores = {layer.site.node: np.ones(layer.blocks) for layer in layers}
        table, limits = self._problem(bench, view, layers, scores, "share").limited
        kept = np.array([max(1.0, density * layer.blocks) for layer in layers])
        return bool((table.cost(kept) <= limits).all())

    def _problem(
        self,
        bench: Bench,
        view: FreeOrders,
        layers: list[_Layer],
        scores: Mapping[str, Floats],
        unit: Unit,
    ) -> Problem:
        """Returns what the allocator is given: a group for each layer, of as many channels as it has blocks."""
        levels = tuple(Level(layer.site.node, layer.blocks, layer.cost.dense, layer.cost.each) for layer in layers)
        whole = {
            name: float(COSTS.get(name)().polynomial(view.analysis, bench.take("model", Model))(view.counts))
            for name in RESOURCES
        }
        costs = level_costs(
            levels,
            {name: cost + sum(layer.cost.fixed.get(name, 0.0) for layer in layers) for name, cost in whole.items()},
        )
        original = bench.find("original_costs", dict) or {}
        limits = {
            budget.resource: self.phase.limit(
                budget.limit(original.get(budget.resource, whole[budget.resource])), whole[budget.resource]
            )
            for budget in self.budgets
        }
        return Problem(level_groups(levels), scores, costs, limits, 1, unit=unit)

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


def _lengths(site: TileSite, weight: gs.Constant) -> tuple[int, int]:
    """Returns the inputs and outputs that are left of a weight."""
    return int(weight.shape[site.input_axis]), int(weight.shape[site.output_axis])


def _layer(site: TileSite, weight: gs.Constant, node: gs.Node, block: tuple[int, int], macs: float) -> _Layer:
    """Returns a weight with what it costs."""
    lengths = _lengths(site, weight)
    return _Layer(site, *lengths, *block, tiled_cost(site, weight, node, lengths, block, macs))


def take_free_orders(bench: Bench) -> FreeOrders:
    """Returns the groups whose order is free, of what the run's plan leaves."""
    return free_orders(
        bench.take("model", Model),
        bench.take("shapes", ConcreteShapes),
        bench.take("analysis", Analysis),
        bench.take("plan", Plan),
    )


def _preferred(unit: Unit, *, learns: bool) -> tuple[str, str]:
    """Returns the allocator that is taken when none is asked for, and what it does, to follow its name."""
    if learns:
        return "dsa", "whose densities learn on the data"
    if unit == "loss":
        return "knapsack", "which weighs what blocks cost against what the outputs lose with them"
    return "global", "one threshold over what blocks are worth within their layers"


def _gate(layer: _Layer, matrix: Floats, found: Found) -> BlockGate:
    """Returns where the blocks of a layer are switched, in the order found."""
    member = found.members[layer.site.weight]
    ranks = entry_ranks(BalancedTiles(layer.block, layer.tile, 1.0), matrix, member.rows, member.columns)
    return BlockGate(layer.site.node, layer.site.weight, from_matrix(ranks, layer.site))


def _scores(
    layers: Sequence[_Layer], matrices: Mapping[str, Floats], unit: Unit, found: Found | None
) -> dict[str, Floats]:
    """Returns node → what each rank of its blocks is worth, float64 [blocks], descending.

    Args:
        layers: The layers.
        matrices: Weight → what its entries are worth.
        unit: In which unit.
        found: The orders of channels; None leaves them as they stand.
    """
    scores = {}
    for layer in layers:
        member = None if found is None else found.members[layer.site.weight]
        orders = () if member is None else (member.rows, member.columns)
        pattern = BalancedTiles(layer.block, layer.tile, 1.0)
        worth = level_worth(block_sums(pattern, matrices[layer.site.weight], *orders))
        scores[layer.site.node] = normalised(worth) if unit == "share" else worth
    return scores


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
