"""time_tiles: which layers tiles make faster on this machine, asked before anything is decided.

A layer that no block-sparse operator computes faster would lose weights and be computed dense all the same, all of its
MACs included, and the budget would be missed. So each layer that can be cut is timed alone, in the form that it
would run in (`onnxprune.passes.use_block_sparse`), with as many blocks kept as the budget makes likely: its share for
tiles alone, the root of it where channels pay for the other half. Layers that are alike are timed once. Then the whole
model is timed with those that are faster so, since dense neighbours fuse and keep a layout of their own; where it is
not faster, no layer is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnxprune.core.budget import Budget
from onnxprune.core.stage import Bench, Pass
from onnxprune.core.tile_options import BlockOption
from onnxprune.core.tile_site import TileSite
from onnxprune.core.tiling import TiledLayer
from onnxprune.graph import Model
from onnxprune.graph.model import MAX_EMBEDDED_BYTES
from onnxprune.groups import Analysis, find_tile_sites
from onnxprune.passes.use_block_sparse import best_form, open_timing, untimed, written
from onnxprune.runtime import measure
from onnxprune.runtime.form_timing import Timer
from onnxprune.tiles.blocks import fit_block
from onnxprune.train.workers import workers

__all__ = ["TileGains", "TimeTiles"]

_LEAST, _MOST = 0.1, 0.9


@dataclass(frozen=True)
class TileGains:
    """What timing said of layers that can be cut.

    Attributes:
        density: Share of blocks that was kept.
        slower: Node label → why tiles do not make it faster.
    """

    density: float
    slower: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TimeTiles(Pass):
    """Gives "tile_gains"; of models too large to be rewritten in memory nothing is known.

    Attributes:
        budgets: Of the run.
        shared: Whether channels share them.
        block: As `plan_tiles` takes it.
        provider: Execution provider.
        threads: Threads within one operator, or None.
        seed: Draws inputs, and which blocks are kept.
        timer: Times models.
    """

    budgets: tuple[Budget, ...]
    shared: bool = False
    block: BlockOption = None
    provider: str = "auto"
    threads: int | None = None
    seed: int = 0
    timer: Timer = measure

    name = "time_tiles"
    needs = ("original", "working", "analysis", "feeds", "original_costs")
    gives = ("tile_gains",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Times."""
        working, density = bench.take("working", Model), self._density(bench)
        sites = find_tile_sites(bench.take("analysis", Analysis)).sites
        fitting = [(site, fit_block(site.operator, site.inputs, site.outputs, self.block)) for site in sites]
        rng = np.random.default_rng(self.seed)
        layers = [_layer(site, *fit, density, rng) for site, fit in fitting if not isinstance(fit, str)]
        if not layers or working.weight_bytes() > MAX_EMBEDDED_BYTES:
            return {"tile_gains": TileGains(density)}
        # of several processes, all go by what the first one measured
        found = workers().on_first(lambda: json.dumps(self._slower(bench, working, layers)).encode())
        return {"tile_gains": TileGains(density, json.loads(found))}

    def _slower(self, bench: Bench, working: Model, layers: Sequence[TiledLayer]) -> dict[str, str]:
        """Returns node → why its layer is not faster."""
        reason = untimed(working)
        if reason:
            return {layer.node: reason for layer in layers}
        proto = working.to_proto()
        timing, feeds, options = open_timing(bench, working, proto, self)
        forms = [best_form(proto, layer, timing, options.provider) for layer in layers]
        slower = {form.layer.node: form.reason for form in forms if form.form not in ("kernel", "body")}
        faster = [form for form in forms if form.layer.node not in slower]
        if faster:
            models = {"dense": working, "tiled": written(working, proto, faster)}
            ratio = self.timer(models, feeds, options).ratios["tiled"].value
            if ratio >= 1:
                reason = f"the whole model takes {ratio:.2f} times the dense one's time in tiles"
                slower |= {form.layer.node: reason for form in faster}
        return slower

    def _density(self, bench: Bench) -> float:
        """Returns the share of blocks that layers are likely to keep."""
        costs = bench.take("original_costs", dict)
        shares = [b.limit(costs[b.resource]) / costs[b.resource] for b in self.budgets if costs.get(b.resource)]
        share = min(shares, default=1.0)
        return min(max(math.sqrt(share) if self.shared else share, _LEAST), _MOST)


def _layer(site: TileSite, block: int, tile: int, density: float, rng: np.random.Generator) -> TiledLayer:
    """Returns a layer of which each tile keeps blocks drawn at random."""
    blocks, tiles = site.inputs // block, -(-site.outputs // tile)
    count = min(max(1, round(density * blocks)), blocks - 1)
    kept = tuple(tuple(sorted(int(i) for i in rng.choice(blocks, count, replace=False))) for _ in range(tiles))
    axis, spatial = site.input_axis, site.spatial
    return TiledLayer(
        site.node, site.weight, site.operator, axis, site.inputs, site.outputs, block, tile, kept, spatial
    )
