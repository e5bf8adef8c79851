"""Blocks as TETRIS prunes them (Ji et al., NeurIPS 2018): the weakest of the whole matrix.

Of the n blocks of bk inputs × T outputs the ⌊n·rate⌋ with the smallest sums are pruned, wherever they are.
Tiles may keep different numbers of blocks, none among them; `onnxprune.tiles.split` makes packed layers of that.
"""

from __future__ import annotations

from dataclasses import dataclass

from onnxprune.core.errors import UsageError
from onnxprune.tiles.arrays import Floats
from onnxprune.tiles.block_pattern import BlockPattern
from onnxprune.tiles.occupy import occupy
from onnxprune.tiles.pattern import cell_count
from onnxprune.tiles.saliency import largest_mass

__all__ = ["TetrisBlocks"]

_SLACK = 1e-9


@dataclass(frozen=True)
class TetrisBlocks(BlockPattern):
    """Prunes the weakest blocks of the matrix.

    Attributes:
        block: bk, inputs in a block.
        tile: T, outputs in a block.
        rate: Share of the blocks that is pruned, rounded down; at least 0, below 1.

    Raises:
        UsageError: when a value is outside its domain.
    """

    rate: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.rate < 1:
            raise UsageError(f"The share of pruned blocks is at least 0 and below 1, not {self.rate}.")

    def choose(self, sums: Floats, temperature: float = 0.0) -> Floats:
        """Returns all but the weakest blocks; see `Pattern.choose`."""
        return occupy(sums.reshape(-1, 1), self._kept_of(sums.size), temperature).reshape(sums.shape)

    def bound(self, saliency: Floats) -> float:
        """Returns the mass of as many entries as the kept blocks can hold; see `Pattern.bound`."""
        inputs, outputs = saliency.shape
        blocks = cell_count(inputs, self.block) * cell_count(outputs, self.tile)
        entries = self._kept_of(blocks) * min(self.block, inputs) * min(self.tile, outputs)
        return largest_mass(saliency, min(entries, saliency.size))

    def _kept_of(self, blocks: int) -> int:
        return blocks - int(blocks * self.rate + _SLACK)
