"""The data file of a model: tensors one after the other, aligned so that runtimes can map them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO

from numpy.typing import NDArray
from onnx import TensorProto

from onnxprune.graph.values import StoredValues, byte_size, raw_pieces, tensor_header, to_tensor

__all__ = ["DataFile"]

_SMALLEST_EXTERNAL_BYTES = 1024
_ALIGNMENT_BYTES = 64
_PAGE_BYTES = 4096


class DataFile:
    """Takes tensors one after the other; the file is opened for the first one.

    Args:
        location: Its name, as models refer to it.
        create: Opens it.
    """

    def __init__(self, location: str, create: Callable[[], BinaryIO]) -> None:
        self._location = location
        self._create = create
        self._file: BinaryIO | None = None
        self._position = 0

    @property
    def used(self) -> bool:
        """Whether any tensor went into the file."""
        return self._file is not None

    def place(self, name: str, values: StoredValues | NDArray[Any]) -> TensorProto:
        """Returns a TensorProto that says where in the file the values lie, or holds small ones."""
        size = byte_size(values)
        if size < _SMALLEST_EXTERNAL_BYTES or values.dtype == object:
            return to_tensor(name, values)
        if self._file is None:
            self._file = self._create()
        alignment = _PAGE_BYTES if size >= 2**20 else _ALIGNMENT_BYTES  # pages, so that runtimes can map it
        self._write(b"\0" * (-self._position % alignment))
        offset = self._position
        for piece in raw_pieces(values):
            self._write(piece)
        return self._entry(name, values, offset)

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()

    def _write(self, piece: bytes) -> None:
        if self._file is not None:
            self._file.write(piece)
            self._position += len(piece)

    def _entry(self, name: str, values: StoredValues | NDArray[Any], offset: int) -> TensorProto:
        proto = tensor_header(name, values)
        proto.data_location = TensorProto.EXTERNAL
        length = self._position - offset
        for key, value in (("location", self._location), ("offset", str(offset)), ("length", str(length))):
            proto.external_data.add(key=key, value=value)
        return proto
