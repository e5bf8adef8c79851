"""A copy of a bfloat16 model that computes in float32.

Few runtimes have kernels for bfloat16 on a CPU. Every bfloat16 value is a float32 value, so the
copy has the same shapes, the same weights and, up to rounding, the same outputs; two bfloat16
models that agree in exact arithmetic agree in it far more closely than in their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto
from onnx_graphsurgeon.ir.tensor import SparseValues

from onnxprune.graph.edit import subgraphs
from onnxprune.graph.model import Model
from onnxprune.graph.values import StoredValues, Values, numpy_dtype, raw_pieces, value_slabs

__all__ = ["widened"]

_WIDE = np.dtype(np.float32)
_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype")


def widened(model: Model) -> Model | None:
    """Returns a copy of `model` in which float32 stands for bfloat16; None where there is no bfloat16."""
    copy = model.copy()
    changed = False
    for part in (copy.graph, *subgraphs(copy.graph)):
        tensors = {id(t): t for t in (*part.inputs, *part.outputs)}
        tensors |= {id(t): t for node in part.nodes for t in (*node.inputs, *node.outputs)}
        for tensor in tensors.values():
            changed |= _widen(tensor)
        for node in part.nodes:
            changed |= _widen_attributes(node)
    return copy if changed else None


def _is_narrow(kind: Any) -> bool:
    dtype = numpy_dtype(kind)
    return dtype is not None and dtype.name == "bfloat16"


def _widen(tensor: gs.Tensor) -> bool:
    """Makes a tensor of a copied graph float32; returns whether it was bfloat16."""
    if isinstance(tensor, gs.Constant):
        if isinstance(tensor._values, SparseValues) or not _is_narrow(tensor.dtype):
            return False
        tensor.values = _wide_values(tensor._values)
        return True
    if tensor.type not in (None, "tensor_type") or not _is_narrow(tensor.dtype):
        return False
    tensor.dtype = _WIDE
    return True


def _widen_attributes(node: gs.Node) -> bool:
    changed = False
    for name, value in node.attrs.items():
        if isinstance(value, gs.Constant) and _is_narrow(value.dtype):
            node.attrs[name] = gs.Constant(value.name, _wide_values(value._values))  # copies share the attribute
        elif name in _TYPE_ATTRIBUTES and not isinstance(value, str) and _is_narrow(value):
            node.attrs[name] = int(TensorProto.FLOAT)
        else:
            continue
        changed = True
    return changed


def _wide_values(values: Values) -> Values:
    return values.astype(_WIDE) if isinstance(values, np.ndarray) else _Widened(values)


class _Widened(StoredValues):
    """bfloat16 values that are read as float32."""

    def __init__(self, source: StoredValues) -> None:
        header = source.header(source.name)
        header.data_type = TensorProto.FLOAT
        super().__init__(header)
        self._source = source

    def proto(self, name: str) -> TensorProto:
        """Returns a TensorProto with the values embedded, under a name."""
        proto = self.header(name)
        proto.raw_data = b"".join(self.pieces())
        return proto

    def load(self) -> NDArray[Any]:
        """Returns the values: an array of `shape` and `dtype` that the caller owns."""
        return self._source.load().astype(_WIDE)

    def pieces(self) -> Iterator[bytes]:
        """Yields the values as ONNX packs them (little-endian), a piece at a time."""
        for slab in self.slabs():
            yield from raw_pieces(slab)

    def slabs(self) -> Iterator[NDArray[Any]]:
        """Yields the values in arrays of some rows each."""
        yield from (slab.astype(_WIDE) for slab in value_slabs(self._source))
