"""Values that are made of others when they are read: slices, and slices overwritten.

Surgery keeps some indices of some axes of a weight; a mask overwrites the other indices. With
k_a the kept indices of axis a,

    kept:        y[i_0, i_1, ...] = x[k_0[i_0], k_1[i_1], ...],
    overwritten: y[i_0, i_1, ...] = x[i_0, i_1, ...] where every i_a is kept, else one value.

Neither needs the whole weight at once: rows are read, changed and handed on, so that a model
larger than memory can be pruned and masked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from onnxprune.graph.values import StoredValues, Values, byte_size, raw_pieces, read_values, value_slabs

__all__ = ["keep_values", "overwrite_values"]

Keeps = Sequence[tuple[int, NDArray[np.bool_]]]
"""(axis, which of its indices are kept); other axes stay whole."""

_SMALLEST_LAZY_BYTES = 2**16
_PACKED_BELOW = 8  # bits; several such elements share a byte, so pieces cannot be changed one by one


def keep_values(values: Values, keeps: Keeps) -> Values:
    """Returns the values at kept indices: unread where they are large, else an array."""
    return _derive(values, keeps, None)


def overwrite_values(values: Values, keeps: Keeps, fill: float) -> Values:
    """Returns the values with `fill` wherever an index is not kept: unread where they are large, else an array."""
    return _derive(values, keeps, fill)


def _derive(values: Values, keeps: Keeps, fill: float | None) -> Values:
    if isinstance(values, StoredValues) and _divisible(values) and byte_size(values) >= _SMALLEST_LAZY_BYTES:
        return _Derived(values, keeps, fill)
    return _changed(read_values(values), keeps, fill)


def _divisible(values: StoredValues) -> bool:
    count = int(np.prod(values.shape, dtype=np.int64))
    return values.data_type != TensorProto.STRING and values.nbytes * 8 >= count * _PACKED_BELOW


def _changed(array: NDArray[Any], keeps: Keeps, fill: float | None) -> NDArray[Any]:
    """Returns `array`, which may be written to, with the indices that are not kept gone or filled."""
    for axis, keep in keeps:
        if fill is None:
            array = np.compress(keep, array, axis=axis)
        else:
            array[(slice(None),) * axis + (~keep,)] = fill
    return array


class _Derived(StoredValues):
    """Values that are read from others and changed on the way.

    Args:
        source: What they are read from; it has at least one axis.
        keeps: Which indices are kept.
        fill: What stands at the others; None when they go.
    """

    def __init__(self, source: StoredValues, keeps: Keeps, fill: float | None) -> None:
        header = source.header(source.name)
        if fill is None:
            for axis, keep in keeps:
                header.dims[axis] = int(keep.sum())
        super().__init__(header)
        self._source = source
        self._rows = next((keep for axis, keep in keeps if axis == 0), None)
        self._others = [(axis, keep) for axis, keep in keeps if axis]
        self._fill = fill

    def proto(self, name: str) -> TensorProto:
        """Returns a TensorProto with the values embedded, under a name."""
        proto = self.header(name)
        proto.raw_data = b"".join(self.pieces())
        return proto

    def load(self) -> NDArray[Any]:
        """Returns the values: an array of `shape` and `dtype` that the caller owns."""
        whole = np.empty(self.shape, dtype=self.dtype)
        start = 0
        for slab in self.slabs():
            whole[start : start + len(slab)] = slab
            start += len(slab)
        return whole

    def pieces(self) -> Iterator[bytes]:
        """Yields the values as ONNX packs them (little-endian), a piece at a time."""
        for slab in self.slabs():
            yield from raw_pieces(slab)

    def slabs(self) -> Iterator[NDArray[Any]]:
        """Yields the values in arrays of some rows each."""
        start = 0
        for slab in value_slabs(self._source):
            rows = [] if self._rows is None else [(0, self._rows[start : start + len(slab)])]
            start += len(slab)
            yield _changed(slab, [*rows, *self._others], self._fill)
