"""What a layer costs that is cut into tiles: for each block that its tiles keep, and however many they keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from onnxprune.core.tile_site import TileSite
from onnxprune.cost.size import element_bytes
from onnxprune.tiles import BalancedTiles, packed_size

__all__ = ["TiledCost", "tiled_cost"]


@dataclass(frozen=True)
class TiledCost:
    """Costs of one layer by resource: MACs ("flops"), parameters, bytes ("size").

    Attributes:
        dense: As it is.
        each: For each block that its tiles keep, what pads the last tile included.
        fixed: Once it is packed, however many blocks it keeps.
    """

    dense: Mapping[str, float]
    each: Mapping[str, float]
    fixed: Mapping[str, float]

    def saved(self, blocks: int) -> dict[str, float]:
        """Returns resource → what is saved where every tile keeps so many blocks."""
        return {
            name: dense - self.each[name] * blocks - self.fixed.get(name, 0.0) for name, dense in self.dense.items()
        }


def tiled_cost(
    site: TileSite,
    weight: gs.Constant,
    node: gs.Node,
    lengths: tuple[int, int],
    block: tuple[int, int],
    macs: float,
) -> TiledCost:
    """Returns what a layer costs.

    Args:
        site: The layer.
        weight: Its weight.
        node: Its node.
        lengths: Inputs and outputs that are left of it.
        block: Inputs and outputs of a block.
        macs: MACs of one sample while it is dense, with what is left of it.
    """
    (inputs, outputs), (size, tile) = lengths, block
    element, params = element_bytes(weight), float(inputs * outputs * site.taps)
    one_block = BalancedTiles(size, tile, size / inputs)
    one = packed_size(one_block, inputs, outputs, taps=site.taps, positions=macs / params, itemsize=element)
    dense = {"flops": macs, "params": params, "size": params * element}
    each = {"flops": one.macs, "params": float(one.weights), "size": one.size_bytes}
    # a packed bias is as long as its tiles, and a packed product of matrices has one in any case
    has_bias = len(node.inputs) > 2 and bool(node.inputs[2].name)
    padded = -(-outputs // tile) * tile
    longer = float(padded - outputs * has_bias) if has_bias or site.operator == "MatMul" else 0.0
    return TiledCost(dense, each, {"params": longer, "size": longer * element})
