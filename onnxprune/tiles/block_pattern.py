"""What patterns of whole blocks have in common: the lengths of their cells, and what may change places."""

from __future__ import annotations

from dataclasses import dataclass

from onnxprune.core.errors import UsageError

__all__ = ["BlockPattern"]


@dataclass(frozen=True)
class BlockPattern:
    """A pattern that keeps or prunes whole blocks.

    Attributes:
        block: bk, inputs in a block.
        tile: T, outputs in a block.

    Raises:
        UsageError: when a length is below one.
    """

    block: int
    tile: int

    def __post_init__(self) -> None:
        if self.block < 1 or self.tile < 1:
            raise UsageError(f"A block is at least 1 x 1, not {self.block} x {self.tile}.")

    @property
    def row_cell(self) -> int:
        """Inputs in a block."""
        return self.block

    @property
    def column_cell(self) -> int:
        """Outputs in a block."""
        return self.tile

    @property
    def row_unit(self) -> int:
        """Whole rows of blocks may change places."""
        return self.block

    @property
    def column_unit(self) -> int:
        """Whole columns of blocks may change places."""
        return self.tile
