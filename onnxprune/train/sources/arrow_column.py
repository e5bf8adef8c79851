"""A column of an Arrow table as one NumPy array, read piece by piece.

Lists become axes: a column of lists of lists of n by m numbers is [rows, n, m]. All rows need the
same lengths. Everything here works on objects of pyarrow, which is an optional dependency.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxprune.core.errors import DataError
from onnxprune.train.label_checks import text_labels
from onnxprune.train.stored import IN_MEMORY_BYTES, byte_count, chunk_rows, collect

__all__ = ["read_column"]


class _UnevenError(ValueError):
    """Rows of different lengths."""


def read_column(where: str, table: Any, column: str) -> NDArray[Any]:
    """Returns a column of numbers.

    Args:
        where: What messages call the data set.
        table: A datasets.Dataset in Arrow format, with at least one row.
        column: Name of the column.

    Raises:
        DataError: when it holds something other than numbers, has gaps, or rows differ in length.
    """
    pick = table.select_columns([column])
    what = f"{where}, column {column!r}"
    try:
        (first,) = _pieces(pick, column, 1, stop=1)
        shape, step = (len(pick), *first.shape[1:]), chunk_rows(first)
        in_memory = byte_count(shape, first.dtype) <= IN_MEMORY_BYTES
        pieces = (
            np.ascontiguousarray(_alike(piece, first)).data.cast("B")
            for piece in _pieces(pick, column, step, stop=len(pick))
        )
        return collect(pieces, shape, first.dtype, in_memory=in_memory)
    except _UnevenError as error:
        raise DataError(f"{what}: {error}. Pad or cut all rows to one length before saving.") from error
    except TypeError as error:
        example = _text(pick[:1][column])
        if example is not None and column in ("label", "labels"):
            raise text_labels(where, example) from error
        raise DataError(f"{what} {error}; a model reads numbers. Encode it before saving.") from error
    except ValueError as error:
        raise DataError(f"{what} {error}. Fill or remove such rows.") from error
    except OSError as error:
        raise DataError(
            f"{what} cannot be unpacked to a temporary file: {error}. Set TMPDIR to a folder with room."
        ) from error


def _pieces(table: Any, column: str, step: int, *, stop: int) -> Iterator[NDArray[Any]]:
    for start in range(0, stop, step):
        for chunk in table[start : min(start + step, stop)][column].chunks:
            if len(chunk):
                yield _values(chunk)


def _alike(piece: NDArray[Any], first: NDArray[Any]) -> NDArray[Any]:
    if piece.shape[1:] != first.shape[1:]:
        raise _UnevenError(f"rows have different shapes ({list(first.shape[1:])} and {list(piece.shape[1:])})")
    return piece


def _values(array: Any) -> NDArray[Any]:
    """Returns an Arrow array of numbers, or of lists of them."""
    import pyarrow as pa

    if isinstance(array, pa.ExtensionArray):  # Array2D to Array5D
        array = array.storage
    if array.null_count:
        raise ValueError("has rows without a value")
    kind = array.type
    if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        lengths = np.unique(array.value_lengths().to_numpy(zero_copy_only=False))
        if len(lengths) > 1:
            raise _UnevenError(f"rows have different lengths ({lengths[0]} to {lengths[-1]})")
        inner = _values(array.flatten())
        return inner.reshape(len(array), int(lengths[0]), *inner.shape[1:])
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise TypeError(f"is of type {kind}")
    values: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return values


def _text(column: Any) -> str | None:
    value = column[0].as_py()
    return value if isinstance(value, str) else None
