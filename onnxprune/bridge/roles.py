"""Which initializers are trained, which are running statistics, and which only say how to compute.

A float initializer is a weight unless it is a scalar, is read as an option (a bound, a scale, a
fill value), or holds numbers that no training produces (an attention mask, a table of sines; see
`fixed_values`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxprune.bridge.fixed_values import fixed_values
from onnxprune.graph import Model
from onnxprune.graph.values import is_float

__all__ = ["OPTION_SLOTS", "STATISTIC_SLOTS", "TensorRole", "frozen_statistics", "readers", "tensor_roles"]

TensorRole = Literal["weight", "statistic", "constant"]
Reader = tuple[gs.Node, int]

STATISTIC_SLOTS = (3, 4)
"""The inputs of BatchNormalization that hold the running mean and variance."""

OPTION_SLOTS: dict[str, tuple[int, ...]] = {
    "AffineGrid": (0,),
    "Clip": (1, 2),
    "Dropout": (1,),
    "Equal": (0, 1),
    "GRU": (5,),  # initial states
    "Greater": (0, 1),
    "GreaterOrEqual": (0, 1),
    "GridSample": (1,),
    "GroupQueryAttention": (7, 8),  # tables of cosines and sines
    "LSTM": (5, 6),
    "Less": (0, 1),
    "LessOrEqual": (0, 1),
    "Max": (0, 1),
    "Min": (0, 1),
    "Mod": (1,),
    "NonMaxSuppression": (0, 1, 2, 3, 4),
    "OneHot": (2,),
    "Pad": (2,),
    "Pow": (1,),
    "QuantizeLinear": (1,),
    "RNN": (5,),
    "Range": (0, 1, 2),
    "Resize": (1, 2),
    "RoiAlign": (1,),
    "RotaryEmbedding": (1, 2, 3),
    "Upsample": (1,),
}
"""Operator → the inputs that say how to compute: bounds, scales, fill values. They are not trained."""
_ALWAYS_WEIGHTS = frozenset(
    ("BatchNormalization", "Conv", "ConvTranspose", "Gemm", "InstanceNormalization", "LayerNormalization", "MatMul")
)
_LARGEST_WEIGHT = 1e8


def readers(model: Model) -> dict[str, list[Reader]]:
    """Returns initializer name → the (node, input slot) pairs that read it, in graph order."""
    names = model.initializers()
    found: dict[str, list[Reader]] = {}
    for node in model.nodes:
        for slot, tensor in enumerate(node.inputs):
            if tensor.name and tensor.name in names:
                found.setdefault(tensor.name, []).append((node, slot))
    return found


def tensor_roles(model: Model) -> dict[str, TensorRole]:
    """Returns the role of every initializer that a node reads or the graph gives out."""
    read_by = readers(model)
    roles = {name: _role(model, constant, read_by.get(name, ())) for name, constant in model.initializers().items()}
    fixed = fixed_values(model, read_by, [name for name, role in roles.items() if role == "weight"])
    return roles | dict.fromkeys(fixed, "constant")


def frozen_statistics(node: gs.Node, read_by: Mapping[str, Sequence[Reader]]) -> bool:
    """Returns whether a BatchNormalization must not update its statistics.

    That is so where they are computed, or where another node reads them too: an exporter that
    merges equal initializers would otherwise have one layer overwrite another's.
    """
    names = [node.inputs[slot].name for slot in STATISTIC_SLOTS]
    return any(len(read_by.get(name, ())) != 1 for name in names)


def _role(model: Model, constant: gs.Constant, uses: Sequence[Reader]) -> TensorRole:
    if not is_float(np.dtype(constant.dtype)):
        return "constant"
    if any(node.op == "BatchNormalization" and slot in STATISTIC_SLOTS for node, slot in uses):
        return "statistic" if len(uses) == 1 else "constant"
    if all(slot in OPTION_SLOTS.get(node.op, ()) for node, slot in uses):
        return "constant"
    shape = tuple(int(size) for size in constant.shape)
    if math.prod(shape) == 0 or (math.prod(shape) == 1 and not _is_small_weight(shape, uses)):
        return "constant"
    return "weight" if _is_trainable(model.read(constant.name)) else "constant"


def _is_small_weight(shape: tuple[int, ...], uses: Sequence[Reader]) -> bool:
    """One number is a weight where a layer reads it, or where it is added as a bias vector."""
    return shape != () and any(node.op in _ALWAYS_WEIGHTS or (node.op == "Add" and len(shape) == 1) for node, _ in uses)


def _is_trainable(value: NDArray[Any]) -> bool:
    # additive attention masks are float tensors of 0 and -inf, -1e9 or the type's minimum
    return float(np.max(np.abs(value.astype(np.float32, copy=False)))) < _LARGEST_WEIGHT
