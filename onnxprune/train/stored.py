"""Arrays of samples that need not lie in memory.

What is small is kept in memory. What is large and has to be written out, such as a decompressed
member of an archive, goes to a temporary file that is mapped: the file has no name (or is
deleted on closing, on Windows), so it is gone when the process ends, however it ends.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["IN_MEMORY_BYTES", "Stored", "byte_count", "chunk_rows", "collect"]

IN_MEMORY_BYTES = 512 * 2**20
"""Bytes of unpacked arrays of one source that are kept in memory."""

_CHUNK_BYTES = 64 * 2**20
Order = Literal["C", "F"]
ReadableBuffer = bytes | memoryview


class Stored(Protocol):
    """Samples, first axis first: an array in memory, a mapped file, or images that are decoded when asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """[samples, …]."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type."""

    def __len__(self) -> int:
        """Returns the number of samples."""

    def __getitem__(self, rows: Any, /) -> NDArray[Any]:
        """Returns the samples of a slice, or of positions as intp [rows]."""


def byte_count(shape: Sequence[int], dtype: np.dtype[Any]) -> int:
    """Returns the bytes of an array."""
    return math.prod(shape) * dtype.itemsize


def chunk_rows(array: Stored) -> int:
    """Returns how many samples to look at at once, at least one."""
    row = byte_count(array.shape[1:], array.dtype)
    return max(1, _CHUNK_BYTES // max(row, 1))


def collect(
    pieces: Iterable[ReadableBuffer], shape: Sequence[int], dtype: np.dtype[Any], *, in_memory: bool, order: Order = "C"
) -> NDArray[Any]:
    """Returns the array whose bytes come piece by piece, in memory or in a mapped temporary file.

    Args:
        pieces: All bytes of the array, in order.
        shape: Its dimensions.
        dtype: Its element type.
        in_memory: Whether to keep it in memory.
        order: "F" where the first axis runs fastest.

    Raises:
        OSError: when the folder for temporary files has no room.
        ValueError: when there are more or fewer bytes than the shape needs.
    """
    size = byte_count(shape, dtype)
    if in_memory or size == 0:
        flat = np.empty(size, np.uint8)
        _check_size(_fill(flat, pieces), shape, dtype)
        return flat.view(dtype).reshape(shape, order=order)
    # written, not mapped and filled: a full disk is an OSError to write(), and a crash (SIGBUS) to a mapping
    with tempfile.TemporaryFile(prefix="onnxprune-") as file:
        _check_size(sum(file.write(piece) for piece in pieces), shape, dtype)
        file.flush()
        return np.asarray(np.memmap(file, dtype, "r", shape=tuple(shape), order=order))


def _fill(flat: NDArray[np.uint8], pieces: Iterable[ReadableBuffer]) -> int:
    """Copies the pieces into `flat` as far as they fit; returns the bytes that came."""
    found = 0
    for piece in pieces:
        part = np.frombuffer(piece, np.uint8)[: max(len(flat) - found, 0)]
        flat[found : found + len(part)] = part
        found += len(piece)
    return found


def _check_size(found: int, shape: Sequence[int], dtype: np.dtype[Any]) -> None:
    expected = byte_count(shape, dtype)
    if found != expected:
        raise ValueError(f"an array of shape {list(shape)} and {dtype} has {expected} bytes, and {found} are there")
