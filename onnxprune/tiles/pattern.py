"""What a sparsity pattern promises, so that one search serves all of them.

A layer is a matrix of saliencies X, float64 [K inputs, N outputs]; for a convolution an entry is the sum
over the kernel's positions. A pattern cuts the *positions* of both axes into cells, sums X inside each cell

    B[p, q] = Σ_{k in row cell p} Σ_{n in column cell q} X[rows[k], columns[n]]

and chooses cells to keep. `rows` and `columns` say which original input or output stands at a position.
Cells at the end of an axis that is no multiple of the cell are smaller and are summed over what there is.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from onnxprune.tiles.arrays import Floats, Indices

__all__ = ["Pattern", "cell_count", "cell_starts"]


class Pattern(Protocol):
    """A rule for which entries of a matrix may stay; frozen and hashable.

    Attributes:
        row_cell: Inputs in one cell of the choice.
        column_cell: Outputs in one cell of the choice.
        row_unit: Runs of this many inputs can change places without any effect on what can be kept.
        column_unit: The same for outputs.
    """

    @property
    def row_cell(self) -> int: ...

    @property
    def column_cell(self) -> int: ...

    @property
    def row_unit(self) -> int: ...

    @property
    def column_unit(self) -> int: ...

    def choose(self, sums: Floats, temperature: float = 0.0) -> Floats:
        """Returns how far each cell is kept, float64 in [0, 1], shaped as `sums`.

        Args:
            sums: B, float64 [row cells, column cells], no entry below zero.
            temperature: 0 gives the best choice, of zeros and ones. Above it, the choice is blurred: the
                gradient of a smoothed kept mass, with differences of sums weighed in units of `temperature`.
        """

    def bound(self, saliency: Floats) -> float:
        """Returns a mass that no mask of this pattern's size can exceed, whatever the order.

        Args:
            saliency: X, float64 [K, N].
        """


def cell_count(size: int, cell: int) -> int:
    """Returns how many cells cover an axis; the last may be smaller."""
    return -(-size // cell)


def cell_starts(size: int, cell: int) -> Indices:
    """Returns the first position of each cell and, at the end, `size`: int64 [cells + 1]."""
    return np.minimum(np.arange(cell_count(size, cell) + 1, dtype=np.int64) * cell, size)
