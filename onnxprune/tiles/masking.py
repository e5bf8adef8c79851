"""Block sums, masks and kept masses of one matrix in a given order."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from onnxprune.tiles.arrays import Floats, Indices, Mask
from onnxprune.tiles.pattern import Pattern, cell_starts

__all__ = ["block_sums", "expand_choice", "gathering", "make_mask", "retained"]

Kind = TypeVar("Kind", bound=np.generic)


def gathering(order: Indices, cell: int) -> csr_array:
    """Returns the matrix that sums the entries of each cell: float64 sparse [cells, len(order)]."""
    starts = cell_starts(len(order), cell)
    return csr_array((np.ones(len(order)), order, starts), shape=(len(starts) - 1, len(order)))


def block_sums(
    pattern: Pattern, saliency: Floats, rows: Indices | None = None, columns: Indices | None = None
) -> Floats:
    """Returns B, the saliency in each cell: float64 [row cells, column cells].

    Args:
        pattern: Says how large the cells are.
        saliency: X, float64 [K, N], in original order.
        rows: Position → original input, int64 [K]; None leaves the order as it is.
        columns: Position → original output, int64 [N].
    """
    rows, columns = _orders(saliency, rows, columns)
    over_rows = gathering(rows, pattern.row_cell) @ saliency
    result: Floats = (gathering(columns, pattern.column_cell) @ over_rows.T).T
    return result


def make_mask(pattern: Pattern, saliency: Floats, rows: Indices | None = None, columns: Indices | None = None) -> Mask:
    """Returns the best mask for an order, bool [K, N], True where an entry stays, in *original* order.

    Args:
        pattern: Which entries may stay.
        saliency: X, float64 [K, N], in original order.
        rows: Position → original input, int64 [K]; None leaves the order as it is.
        columns: Position → original output, int64 [N].
    """
    choice = pattern.choose(block_sums(pattern, saliency, rows, columns)) > 0.5
    return expand_choice(pattern, choice, *_orders(saliency, rows, columns))


def expand_choice(pattern: Pattern, choice: NDArray[Kind], rows: Indices, columns: Indices) -> NDArray[Kind]:
    """Returns a choice of cells as a mask, bool [K, N], in original order; or whatever else cells have.

    Args:
        pattern: Says how large the cells are.
        choice: bool, or of another type, [row cells, column cells].
        rows: Position → original input, int64 [K].
        columns: Position → original output, int64 [N].
    """
    row_of, column_of = np.empty_like(rows), np.empty_like(columns)
    row_of[rows] = np.arange(len(rows)) // pattern.row_cell
    column_of[columns] = np.arange(len(columns)) // pattern.column_cell
    return choice[row_of][:, column_of]


def retained(pattern: Pattern, saliency: Floats, rows: Indices | None = None, columns: Indices | None = None) -> float:
    """Returns the kept mass of an order, as `make_mask` takes its arguments."""
    sums = block_sums(pattern, saliency, rows, columns)
    return float((sums * pattern.choose(sums)).sum())


def _orders(saliency: Floats, rows: Indices | None, columns: Indices | None) -> tuple[Indices, Indices]:
    inputs, outputs = saliency.shape
    return (
        np.arange(inputs, dtype=np.int64) if rows is None else rows,
        np.arange(outputs, dtype=np.int64) if columns is None else columns,
    )
