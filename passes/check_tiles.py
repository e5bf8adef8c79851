"""check_tiles: whether the tiles of a plan that was read from a file fit the weights that its channels leave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnxprune.core.errors import InputError
from onnxprune.core.plan import Plan
from onnxprune.core.stage import Bench, Pass
from onnxprune.core.tiling import CutLayer, TiledLayer
from onnxprune.graph import Model
from onnxprune.groups import FreeOrders, find_tile_sites
from onnxprune.tiles.blocks import fit_block

__all__ = ["CheckTiles"]


@dataclass(frozen=True)
class CheckTiles(Pass):
    """Gives nothing.

    Attributes:
        source: Where the plan was read, as messages name it.
    """

    source: str = "the plan"

    name = "check_tiles"
    needs = ("plan", "slim", "free_orders")

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Checks.

        Raises:
            InputError: when a weight has other lengths than the plan says, or no such blocks.
        """
        weights = bench.take("slim", Model).initializers()
        sites = {site.node: site for site in find_tile_sites(bench.take("free_orders", FreeOrders).analysis).sites}
        for layer in bench.take("plan", Plan).tiling.layers:
            site, shape = sites[layer.node], weights[layer.weight].shape
            found = (int(shape[site.input_axis]), int(shape[site.output_axis]))
            if found != (layer.inputs, layer.outputs) or (layer.operator == "Conv" and layer.spatial != site.spatial):
                raise InputError(
                    f"{self.source} does not fit: its tiles of {layer.node!r} are of {layer.inputs} inputs and "
                    f"{layer.outputs} outputs, and the weight has {found[0]} and {found[1]} once channels have gone."
                )
            why = _no_such_block(layer)
            if why:
                raise InputError(f"{self.source} does not fit: {layer.node!r} cannot be cut so: {why}.")
        return {}


def _no_such_block(layer: CutLayer) -> str:
    """Returns why no kernel computes with the blocks of a layer, or ""."""
    if not isinstance(layer, TiledLayer):
        return ""
    fitting = fit_block(layer.operator, layer.inputs, layer.outputs, (layer.block, layer.tile))
    if isinstance(fitting, str):
        return fitting
    if fitting != (layer.block, layer.tile):
        (inputs, outputs), asked = fitting, f"blocks of {layer.block} inputs and {layer.tile} outputs"
        return f"{asked} do not divide it, and those of {inputs} and {outputs} do"
    return ""
