"""Which initializers are weights, quantised ones included, and the real numbers they stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxprune.graph.model import Model
from onnxprune.graph.values import is_float

__all__ = ["is_weight", "read_real"]

_INTEGER_WEIGHTS: dict[str, tuple[int, ...]] = {
    "ConvInteger": (1,),
    "DequantizeLinear": (0,),
    "MatMulInteger": (0, 1),
    "QLinearConv": (3,),
    "QLinearMatMul": (0, 3),
}


def is_weight(constant: gs.Constant) -> bool:
    """Returns whether an initializer counts as parameters: floats do, and integers that stand for real numbers."""
    if is_float(constant.dtype):
        return True
    return any(
        tensor is constant and slot in _INTEGER_WEIGHTS.get(node.op, ())
        for node in constant.outputs
        for slot, tensor in enumerate(node.inputs)
    )


def read_real(model: Model, name: str) -> NDArray[Any]:
    """Returns an initializer's values; where a DequantizeLinear reads it with constant scales, what that gives.

    Raises:
        InternalError: when there is no such initializer.
    """
    values = model.read(name)
    constants = model.initializers() if not is_float(values.dtype) else {}
    for node in constants[name].outputs if name in constants else ():
        others = [tensor.name for tensor in node.inputs[1:] if tensor.name]
        if node.op == "DequantizeLinear" and node.inputs[0].name == name and all(n in constants for n in others):
            return _dequantised(values, node, [model.read(n) for n in others])
    return values


def _dequantised(values: NDArray[Any], node: gs.Node, others: list[NDArray[Any]]) -> NDArray[np.float64]:
    axis, block = int(node.attrs.get("axis", 1)), int(node.attrs.get("block_size", 0))
    scale, *zero = (_spread(other.astype(np.float64), values, axis, block) for other in others)
    return (values.astype(np.float64) - (zero[0] if zero else 0)) * scale


def _spread(numbers: NDArray[np.float64], values: NDArray[Any], axis: int, block: int) -> NDArray[np.float64]:
    if numbers.size == 1:
        return numbers.reshape(())
    if block:
        return np.repeat(numbers, block, axis=axis).take(range(values.shape[axis]), axis=axis)
    shape = [1] * values.ndim
    shape[axis] = -1
    return numbers.reshape(shape)
