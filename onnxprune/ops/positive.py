"""What is known of signs: whether a tensor is surely not negative, or surely greater than zero.

A masked channel may be divided by what does not vanish: the deviation √(var + ε) of a decomposed
normalisation is such a divisor, whatever the masked channels hold.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from onnxprune.ops.activation import Clip
from onnxprune.ops.base import MaskContext

__all__ = ["surely_nonnegative", "surely_positive"]

_NONNEGATIVE = (
    "Abs",
    "Exp",
    "ReduceL1",
    "ReduceL2",
    "ReduceSumSquare",
    "Relu",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Sqrt",
)
_DEPTH = 8
_MOVERS = (
    "Expand", "Flatten", "Identity", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Reshape", "Squeeze",
    "Transpose", "Unsqueeze",
)  # fmt: skip


def surely_positive(tensor: gs.Tensor, ctx: MaskContext, depth: int = _DEPTH) -> bool:
    """Returns whether every element is greater than zero for any input, as far as `depth` nodes back tell."""
    value = ctx.constant(tensor.name)
    if value is not None:
        return value.size == 1 and bool(np.all(value > 0))  # a vector is masked to zero itself
    node = tensor.inputs[0] if tensor.inputs else None
    if node is None or depth == 0:
        return False
    if node.op in (*_MOVERS, "Sqrt"):
        return surely_positive(node.inputs[0], ctx, depth - 1)
    if node.op == "Clip":
        bounds = Clip.bounds(node, ctx)
        return bounds is not None and bounds[0] is not None and bounds[0] > 0
    if node.op == "Add":
        a, b = node.inputs
        return (surely_positive(a, ctx, depth - 1) and surely_nonnegative(b, ctx, depth - 1)) or (
            surely_positive(b, ctx, depth - 1) and surely_nonnegative(a, ctx, depth - 1)
        )
    if node.op == "Max":
        return any(surely_positive(each, ctx, depth - 1) for each in node.inputs)
    return False


def surely_nonnegative(tensor: gs.Tensor, ctx: MaskContext, depth: int = _DEPTH) -> bool:
    """Returns whether every element is zero or greater for any input, likewise."""
    value = ctx.constant(tensor.name)
    if value is not None:
        return bool(np.all(value >= 0))
    node = tensor.inputs[0] if tensor.inputs else None
    if node is None or depth == 0:
        return False
    if node.op in _NONNEGATIVE:
        return True
    if node.op == "Mul":
        a, b = node.inputs
        return a is b or (surely_nonnegative(a, ctx, depth - 1) and surely_nonnegative(b, ctx, depth - 1))
    if node.op == "Pow":
        exponent = ctx.constant(node.inputs[1].name)
        return exponent is not None and bool(np.all(exponent % 2 == 0))
    if node.op in ("Add", "Max"):
        return all(surely_nonnegative(each, ctx, depth - 1) for each in node.inputs)
    return node.op in _MOVERS and surely_nonnegative(node.inputs[0], ctx, depth - 1)
