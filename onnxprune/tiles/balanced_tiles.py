"""Balanced output tiles: every tile of outputs keeps the same number of input blocks.

The N outputs are cut into G tiles of T, the K inputs into blocks of bk. Each tile keeps the r blocks with
the largest sums of saliency; r is the same for all tiles of a layer, so the packed weight is a dense
[G, r·bk, T] and no kernel waits for a fuller tile. Any order of whole blocks, and of whole tiles, keeps the
same mass; with bk = 1 the order of inputs does not matter at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from onnxprune.core.errors import UsageError
from onnxprune.tiles.arrays import Floats
from onnxprune.tiles.block_pattern import BlockPattern
from onnxprune.tiles.occupy import occupy
from onnxprune.tiles.pattern import cell_count
from onnxprune.tiles.saliency import largest_mass

__all__ = ["BalancedTiles"]

_SLACK = 1e-9  # 0.3 * 10 is a hair below 3 in binary


@dataclass(frozen=True)
class BalancedTiles(BlockPattern):
    """Keeps the `kept(K)` best input blocks of each output tile.

    Attributes:
        block: bk, inputs in a block.
        tile: T, outputs in a tile.
        density: Share of the input blocks that each tile keeps at most, above 0, at most 1.

    Raises:
        UsageError: when a value is outside its domain.
    """

    density: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.density <= 1:
            raise UsageError(f"The density of tiles is above 0 and at most 1, not {self.density}.")

    def kept(self, inputs: int) -> int:
        """Returns r, the blocks that each tile keeps of `inputs` inputs: within the density, at least one."""
        return self._kept_of(cell_count(inputs, self.block))

    def fitted(self, inputs: int, outputs: int) -> BalancedTiles:
        """Returns the pattern for a small layer: blocks halved until there are two, tiles until one is full."""
        block, tile = self.block, self.tile
        while block > 1 and block >= inputs:
            block //= 2
        while tile > 1 and tile > outputs:
            tile //= 2
        return replace(self, block=block, tile=tile)

    def choose(self, sums: Floats, temperature: float = 0.0) -> Floats:
        """Returns the r best blocks of each tile; see `Pattern.choose`."""
        return occupy(sums, self._kept_of(len(sums)), temperature)

    def bound(self, saliency: Floats) -> float:
        """Returns the mass of the r·bk·N largest entries; see `Pattern.bound`."""
        inputs, outputs = saliency.shape
        return largest_mass(saliency, min(self.kept(inputs) * self.block, inputs) * outputs)

    def _kept_of(self, blocks: int) -> int:
        return max(1, int(self.density * blocks + _SLACK))
