"""A copy of a 16-bit model that computes in float32, and its values back in 16 bits.

Few runtimes have kernels for bfloat16 on a CPU, and neither 16-bit type suits training: an update
smaller than half a unit in the last place of a weight is lost. Every float16 and bfloat16 value is a
float32 value, so the copy has the same shapes, the same weights and, up to rounding, the same outputs;
two 16-bit models that agree in exact arithmetic agree in it far more closely than in their own type.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto
from onnx_graphsurgeon.ir.tensor import SparseValues

from onnxprune.core.errors import ModelError
from onnxprune.graph.edit import subgraphs
from onnxprune.graph.fold import constants_to_initializers
from onnxprune.graph.model import Model
from onnxprune.graph.values import StoredValues, Values, numpy_dtype, raw_pieces, value_slabs

__all__ = ["for_training", "narrow_values", "narrowed_back", "widened"]

_WIDE = np.dtype(np.float32)
_NARROW = ("bfloat16", "float16")
_TYPE_ATTRIBUTES = (
    "dtype",
    "element",  # of our own operators, which expand packed weights
    "output_datatype",
    "output_dtype",
    "precision",
    "softmax_precision",
    "stash_type",
    "to",
)


def for_training(model: Model) -> tuple[Model, str | None]:
    """Returns what to train in place of `model`, and a sentence on it.

    That is the model itself, and None, where it has no 16-bit floats; else a copy in float32.
    `narrowed_back` returns the trained values.
    """
    kinds = sorted({name for name in map(_name, _tensors(model)) if name in _NARROW})
    wide = widened(model, types=_NARROW)
    if wide is None:
        return model, None
    return wide, (
        f"The model computes in {' and '.join(kinds) or '16 bits'}. It was trained in float32, and the weights were "
        "rounded to their own type afterwards."
    )


def narrowed_back(trained: Model, original: Model) -> Model:
    """Returns a copy of `original` with the values of `trained`, rounded to nearest.

    Args:
        trained: What `for_training` or `widened` made of `original`, with other values.
        original: Gives the graph and the element types. Constant nodes become initializers.

    Raises:
        ModelError: when an initializer is missing or has another shape, or a value is too large for
            its type.
    """
    copy = original.copy()
    constants_to_initializers(copy)
    wide = trained.copy()
    constants_to_initializers(wide)
    known = wide.initializers()
    for name, constant in copy.initializers().items():
        if name not in known or tuple(known[name].shape) != tuple(constant.shape):
            raise ModelError(
                f"The trained model has no initializer {name!r} of shape {tuple(constant.shape)}. Give the model that "
                "was made of the original for training, with the same initializers."
            )
        dtype = np.dtype(constant.dtype)
        if dtype.kind in "iub" or (dtype.name not in _NARROW and dtype != known[name].dtype):
            continue
        values = narrow_values(wide.read(name), dtype, name)
        if not np.array_equal(values, copy.read(name)):  # what was not trained stays unread
            copy.replace(name, values)
    return copy


def narrow_values(values: NDArray[Any], dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """Returns `values` in a float type, rounded to nearest, ties to even.

    Args:
        values: Finite or not; infinities stay.
        dtype: The type.
        name: What the values are called in messages.

    Raises:
        ModelError: when a finite value is too large for the type.
    """
    if values.dtype == dtype:
        return values
    with np.errstate(over="ignore"):
        rounded = values.astype(dtype)
    lost = np.isfinite(values) & ~np.isfinite(rounded.astype(np.float64))
    if bool(lost.any()):
        largest = float(np.abs(values[lost]).max())
        limit = " (65504 is the largest)" if dtype == np.float16 else ""
        raise ModelError(
            f"{name!r} holds {largest:.6g} after training, too large a number for its type {dtype.name}{limit}. "
            "Train with a lower --lr or with weight decay, or convert the model to float32 first."
        )
    return rounded


def widened(model: Model, types: Collection[str] = ("bfloat16",)) -> Model | None:
    """Returns a copy of `model` in which float32 stands for narrow types; None where there are none of them.

    Args:
        model: The model; not changed.
        types: Names of the narrow types: "bfloat16", "float16".

    Raises:
        ModelError: when a BitCast reads or gives one of these types, as its bytes would be others.
    """
    copy = model.copy()
    changed = False
    for part in (copy.graph, *subgraphs(copy.graph)):
        for node in part.nodes:
            _refuse_bits(node, types)
            changed |= _widen_attributes(node, types)
        tensors = {id(t): t for t in (*part.inputs, *part.outputs)}
        tensors |= {id(t): t for node in part.nodes for t in (*node.inputs, *node.outputs)}
        for tensor in tensors.values():
            changed |= _widen(tensor, types)
    return copy if changed else None


def _tensors(model: Model) -> Iterator[gs.Tensor]:
    for part in (model.graph, *subgraphs(model.graph)):
        yield from (*part.inputs, *part.outputs)
        for node in part.nodes:
            yield from (*node.inputs, *node.outputs)


def _name(tensor: gs.Tensor) -> str:
    dtype = numpy_dtype(tensor.dtype)
    return "" if dtype is None else dtype.name


def _is_narrow(kind: Any, types: Collection[str]) -> bool:
    dtype = numpy_dtype(kind)
    return dtype is not None and dtype.name in types


def _refuse_bits(node: gs.Node, types: Collection[str]) -> None:
    if node.op == "BitCast" and any(_is_narrow(kind, types) for kind in (node.attrs.get("to"), node.inputs[0].dtype)):
        raise ModelError(
            f"{node.op} '{node.name or node.outputs[0].name}' reads the bytes of a 16-bit float, so the model cannot "
            "be computed in float32. Prune without retraining (no --data), or export the model in float32."
        )


def _widen(tensor: gs.Tensor, types: Collection[str]) -> bool:
    """Makes a tensor of a copied graph float32; returns whether it was narrow."""
    if isinstance(tensor, gs.Constant):
        if isinstance(tensor._values, SparseValues) or not _is_narrow(tensor.dtype, types):
            return False
        tensor.values = _wide_values(tensor._values)
        return True
    if tensor.type not in (None, "tensor_type") or not _is_narrow(tensor.dtype, types):
        return False
    tensor.dtype = _WIDE
    return True


def _widen_attributes(node: gs.Node, types: Collection[str]) -> bool:
    changed = False
    for name, value in node.attrs.items():
        if isinstance(value, gs.Constant) and _is_narrow(value.dtype, types):
            node.attrs[name] = gs.Constant(value.name, _wide_values(value._values))  # copies share the attribute
        elif name in _TYPE_ATTRIBUTES and not isinstance(value, str) and _is_narrow(value, types):
            node.attrs[name] = int(TensorProto.FLOAT)
        else:
            continue
        changed = True
    return changed


def _wide_values(values: Values) -> Values:
    return values.astype(_WIDE) if isinstance(values, np.ndarray) else _Widened(values)


class _Widened(StoredValues):
    """16-bit values that are read as float32."""

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
