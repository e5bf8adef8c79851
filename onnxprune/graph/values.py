"""Values of initializers that stay where they are until somebody reads them.

GraphSurgeon keeps an initializer as a `gs.Constant` that holds either a numpy array or a
`LazyValues`. The classes here are such lazy values, with three differences: the dtype is
always a numpy dtype (bfloat16 and the like through ml_dtypes), reading leaves nothing
resident, and the bytes may lie in a file of their own (ONNX external data).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
from google.protobuf.message import Message
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx_graphsurgeon.ir.tensor import LazyValues, SparseValues

from onnxprune.core.errors import ModelError

__all__ = [
    "EmbeddedValues",
    "ExternalValues",
    "StoredValues",
    "Values",
    "byte_size",
    "is_float",
    "numpy_dtype",
    "packed_bytes",
    "raw_pieces",
    "read_values",
    "tensor_header",
    "to_tensor",
    "value_digest",
    "value_slabs",
]

_PIECE_BYTES = 16 * 2**20
_PACKED_BITS: dict[int, int] = {
    TensorProto.UINT4: 4,
    TensorProto.INT4: 4,
    TensorProto.FLOAT4E2M1: 4,
    TensorProto.UINT2: 2,
    TensorProto.INT2: 2,
    TensorProto.FLOAT6E2M3: 6,
    TensorProto.FLOAT6E3M2: 6,
}


def numpy_dtype(kind: Any) -> np.dtype[Any] | None:
    """Returns the numpy dtype of an ONNX element type or of anything numpy knows, or None."""
    if kind is None or isinstance(kind, Message):  # GraphSurgeon gives the message of a type it does not know
        return None
    if isinstance(kind, int):
        return None if kind == TensorProto.UNDEFINED else np.dtype(helper.tensor_dtype_to_np_dtype(kind))
    dtype: np.dtype[Any] = np.dtype(kind)
    return dtype


def is_float(dtype: np.dtype[Any]) -> bool:
    """Returns whether a dtype is floating point, the kinds of ml_dtypes included."""
    return dtype.name.startswith(("float", "bfloat"))


def packed_bytes(data_type: int, shape: tuple[int, ...]) -> int:
    """Returns the bytes that ONNX stores for a tensor of an element type (not STRING)."""
    count = math.prod(shape)
    bits = _PACKED_BITS.get(data_type)
    if bits is None:
        return count * np.dtype(helper.tensor_dtype_to_np_dtype(data_type)).itemsize
    return -(-count * bits // 8)


class StoredValues(LazyValues):  # type: ignore[misc]  # GraphSurgeon is untyped
    """Values of one tensor, unread.

    Attributes:
        data_type: ONNX element type.
        shape: Dimensions.
        dtype: Numpy dtype of the values once read.
        nbytes: Bytes that ONNX stores for them.
    """

    def __init__(self, header: TensorProto) -> None:
        self.name = header.name
        self._doc_string = header.doc_string
        self._metadata = list(header.metadata_props)
        self.data_type = int(header.data_type)
        self.shape = tuple(int(d) for d in header.dims)
        self.dtype = np.dtype(helper.tensor_dtype_to_np_dtype(self.data_type))
        self.nbytes = (
            sum(len(text) for text in header.string_data)
            if self.data_type == TensorProto.STRING
            else packed_bytes(self.data_type, self.shape)
        )

    @property
    def tensor(self) -> TensorProto:
        """A new, self-contained TensorProto; GraphSurgeon's own exporter asks for it."""
        return self.proto(self.name)

    def header(self, name: str) -> TensorProto:
        """Returns a TensorProto with everything but the values."""
        proto = TensorProto(name=name, data_type=self.data_type, dims=self.shape, metadata_props=self._metadata)
        if self._doc_string:
            proto.doc_string = self._doc_string
        return proto

    def proto(self, name: str) -> TensorProto:
        """Returns a self-contained TensorProto with the values, under a name."""
        raise NotImplementedError

    def load(self) -> NDArray[Any]:
        """Returns the values: an array of `shape` and `dtype` that the caller owns."""
        return np.array(numpy_helper.to_array(self.proto(self.name)))

    def pieces(self) -> Iterator[bytes]:
        """Yields the values as ONNX packs them (little-endian), a piece at a time."""
        raise NotImplementedError

    def slabs(self) -> Iterator[NDArray[Any]]:
        """Yields the values in arrays of some rows each, in order; where pieces are not whole rows, all at once."""
        yield self.load()


class EmbeddedValues(StoredValues):
    """Values inside a model file that is in memory.

    Args:
        tensor: The tensor; never changed, and kept alive.
    """

    def __init__(self, tensor: TensorProto) -> None:
        super().__init__(tensor)
        self._source = tensor

    def proto(self, name: str) -> TensorProto:
        """Returns a copy of the source tensor under a name."""
        copy = TensorProto()
        copy.CopyFrom(self._source)
        copy.name = name
        return copy

    def load(self) -> NDArray[Any]:
        """Returns the values: an array of `shape` and `dtype` that the caller owns."""
        return np.array(numpy_helper.to_array(self._source))

    def pieces(self) -> Iterator[bytes]:
        """Yields the values as ONNX packs them (little-endian), in one piece."""
        if self._source.HasField("raw_data"):
            yield self._source.raw_data
        else:
            yield numpy_helper.from_array(numpy_helper.to_array(self._source)).raw_data


class ExternalValues(StoredValues):
    """Values in a data file beside the model.

    They are read with plain reads, not through a mapping: mapped pages count as resident, and
    a file that somebody shortens meanwhile would end the process instead of giving an error.

    Args:
        header: Name, element type and dimensions.
        path: The data file, checked to lie in the model's folder.
        offset: Where the values begin, in bytes.
    """

    def __init__(self, header: TensorProto, path: Path, offset: int) -> None:
        super().__init__(header)
        self.path = path
        self.offset = offset

    def proto(self, name: str) -> TensorProto:
        """Returns a TensorProto with the values embedded, under a name."""
        proto = self.header(name)
        proto.raw_data = b"".join(self.pieces())
        return proto

    def load(self) -> NDArray[Any]:
        """Returns the values: an array of `shape` and `dtype` that the caller owns.

        Raises:
            ModelError: when the data file is gone or has become shorter since the model was loaded.
        """
        if self.data_type in _PACKED_BITS:
            return super().load()
        return self._rows(0, self.nbytes).reshape(self.shape)

    def pieces(self) -> Iterator[bytes]:
        """Yields the values as ONNX packs them (little-endian), 16 MiB at a time.

        Raises:
            ModelError: when the data file is gone or has become shorter since the model was loaded.
        """
        left = self.nbytes
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                while left:
                    piece = file.read(min(left, _PIECE_BYTES))
                    if not piece:
                        raise self._unreadable(f"it ends {left} bytes early")
                    left -= len(piece)
                    yield piece
        except OSError as error:
            raise self._unreadable(str(error)) from error

    def slabs(self) -> Iterator[NDArray[Any]]:
        """Yields the values in arrays of some rows each, about 16 MiB at a time.

        Raises:
            ModelError: when the data file is gone or has become shorter since the model was loaded.
        """
        if self.data_type in _PACKED_BITS or self.nbytes <= _PIECE_BYTES or len(self.shape) < 2:
            yield self.load()
            return
        row = self.nbytes // self.shape[0]
        step = max(1, _PIECE_BYTES // row)
        for start in range(0, self.shape[0], step):
            count = min(step, self.shape[0] - start)
            yield self._rows(start * row, count * row).reshape(count, *self.shape[1:])

    def _rows(self, start: int, size: int) -> NDArray[Any]:
        """Returns `size` bytes from byte `start` of the values, as a flat array of their dtype."""
        try:
            raw = np.fromfile(self.path, dtype=np.uint8, count=size, offset=self.offset + start)
        except OSError as error:
            raise self._unreadable(str(error)) from error
        if raw.size != size:
            raise self._unreadable(f"{size} bytes expected at {self.offset + start}, {raw.size} found")
        return raw.view(self.dtype)

    def _unreadable(self, found: str) -> ModelError:
        return ModelError(
            f"Initializer {self.name!r}: its data file {self.path} changed after the model was loaded ({found}). "
            "Leave the file alone until the run is over."
        )


Values: TypeAlias = "StoredValues | SparseValues | NDArray[Any]"


def read_values(values: Values) -> NDArray[Any]:
    """Returns the values of an initializer as an array that the caller owns."""
    if isinstance(values, np.ndarray):
        return values.copy()
    return _dense(values.tensor) if isinstance(values, SparseValues) else values.load()


def _dense(sparse: onnx.SparseTensorProto) -> NDArray[Any]:
    values = numpy_helper.to_array(sparse.values)
    indices = numpy_helper.to_array(sparse.indices)
    dense = np.zeros(tuple(sparse.dims), dtype=values.dtype)
    if indices.ndim == 1:
        dense.reshape(-1)[indices] = values
    else:
        dense[tuple(indices.T)] = values
    return dense


def to_tensor(name: str, values: StoredValues | NDArray[Any]) -> TensorProto:
    """Returns a self-contained TensorProto."""
    return numpy_helper.from_array(values, name) if isinstance(values, np.ndarray) else values.proto(name)


def tensor_header(name: str, values: StoredValues | NDArray[Any]) -> TensorProto:
    """Returns a TensorProto with everything but the values."""
    if isinstance(values, np.ndarray):
        return TensorProto(name=name, data_type=helper.np_dtype_to_tensor_dtype(values.dtype), dims=values.shape)
    return values.header(name)


def raw_pieces(values: StoredValues | NDArray[Any]) -> Iterator[bytes]:
    """Yields values as ONNX packs them, little-endian, a piece at a time (not for STRING)."""
    if isinstance(values, np.ndarray):
        yield numpy_helper.from_array(values).raw_data
    else:
        yield from values.pieces()


def value_slabs(values: Values) -> Iterator[NDArray[Any]]:
    """Yields the values of an initializer in arrays of some rows each; scalars and vectors come whole."""
    if isinstance(values, StoredValues):
        yield from values.slabs()
    else:
        yield values if isinstance(values, np.ndarray) else read_values(values)


def value_digest(values: Values) -> str:
    """Returns a hash of an initializer's type, shape and values, read a piece at a time."""
    if isinstance(values, SparseValues) or values.dtype == object:
        array = read_values(values)
        parts: Iterator[bytes] = (str(item).encode() + b"\0" for item in array.ravel().tolist())
    else:
        parts = raw_pieces(values)
    digest = hashlib.sha256(f"{values.dtype} {tuple(values.shape)}".encode())
    for piece in parts:
        digest.update(piece)
    return digest.hexdigest()


def byte_size(values: Values) -> int:
    """Returns the bytes that ONNX stores for an initializer."""
    if isinstance(values, SparseValues):
        return int(values.tensor.ByteSize())
    if isinstance(values, np.ndarray):
        if values.dtype == object:
            return sum(len(str(item)) for item in values.flat)
        return packed_bytes(helper.np_dtype_to_tensor_dtype(values.dtype), values.shape)
    return values.nbytes
