"""The block-sparse operators in standard operators: one model-local function for each.

    MatMul: x [M, K] → blocks [M, K/b, b] → Gather by index [M, G, r, b] → [G, M, R] @ W [G, R, T] → [M, G·T]
    Conv:   x [B, K, P] → blocks [B, K/b, b·P] → Gather by index [B, G·r, b·P] → Conv with G groups

Bodies hold for every shape and for each element type; sizes come from attributes, so that onnxruntime folds all but
the arithmetic when it loads a model. Where sizes divide (see `nodes`), the operators that pad and cut are left out.
"""

from __future__ import annotations

import math

from onnx import FunctionProto

from onnxprune.kernels.activation import ACTIVATIONS, ActivationName
from onnxprune.kernels.body import Body
from onnxprune.kernels.nodes import CONV, DOMAIN, MATMUL

__all__ = ["conv_body", "matmul_body"]


def matmul_body(activation: ActivationName, opset: int, *, ragged: bool = True, domain: str = DOMAIN) -> FunctionProto:
    """Returns the body of BlockSparseMatMul.

    Args:
        activation: What it ends with.
        opset: Version of the standard operators.
        ragged: Whether K may be no multiple of b, or N none of T.
        domain: Domain of the function.

    Raises:
        UsageError: when the opset is too old.
    """
    body = Body(opset)
    block, inputs = body.size("block_k"), body.size("in_features")
    shape = body.add("Shape", "x")
    any_rows = body.integers(-1)
    x = body.add("Reshape", "x", body.add("Concat", any_rows, inputs, axis=0))
    count = body.blocks(inputs, block)
    if ragged:
        missing = body.add("Sub", body.add("Mul", count, block), inputs)
        x = body.add("Pad", x, body.add("Concat", body.integers(0, 0, 0), missing, axis=0))
    x = body.add("Reshape", x, body.add("Concat", any_rows, count, block, axis=0))
    x = body.add("Transpose", body.add("Gather", x, "index", axis=1), perm=[1, 0, 2, 3])
    # zeros copy the sizes of G and of the rows; a -1 could not be told where there are no rows
    rows = body.part(body.add("Shape", "weight"), 1, 2)
    x = body.add("Reshape", x, body.add("Concat", body.integers(0, 0), rows, axis=0))
    y = body.add("Transpose", body.add("MatMul", x, "weight"), perm=[1, 0, 2])
    y = body.add("Reshape", y, body.add("Concat", any_rows, body.add("Shape", "bias"), axis=0))
    y = _activate(body, activation, body.add("Add", y, "bias"))
    outputs = body.size("out_features")
    if ragged:
        y = body.add("Slice", y, body.integers(0), outputs, body.integers(1))
    body.reshape(y, body.part(shape, 0, -1), outputs, output="y")
    attributes = ["block_k", "in_features", "out_features", *ACTIVATIONS[activation]]
    return body.function(domain, MATMUL + activation, ["x", "weight", "index", "bias"], attributes)


def conv_body(activation: ActivationName, opset: int, *, ragged: bool = True, domain: str = DOMAIN) -> FunctionProto:
    """Returns the body of BlockSparseConv.

    Args:
        activation: What it ends with.
        opset: Version of the standard operators.
        ragged: Whether K may be no multiple of b, or N none of T.
        domain: Domain of the function.

    Raises:
        UsageError: when the opset is too old.
    """
    body = Body(opset)
    block, inputs = body.size("block_c"), body.size("in_channels")
    shape = body.add("Shape", "x")
    images, spatial = body.part(shape, 0, 1), body.part(shape, 2, 9)
    pixels = body.add("ReduceProd", spatial, keepdims=1)
    count = body.blocks(inputs, block)
    x = "x"
    if ragged:
        missing = body.add("Sub", body.add("Mul", count, block), inputs)
        before, after = body.integers(0, 0, 0, 0), body.integers(0)
        x = body.reshape(x, images, inputs, pixels)
        x = body.add("Pad", x, body.add("Concat", before, missing, after, axis=0))
    x = body.reshape(x, images, count, body.add("Mul", block, pixels))
    x = body.add("Gather", x, body.add("Reshape", "index", body.integers(-1)), axis=1)
    rows = body.part(body.add("Shape", "weight"), 1, 2)
    x = body.reshape(x, images, body.add("Mul", body.size("group"), rows), spatial)
    window = ["kernel_shape", "pads", "strides", "dilations"]
    y = _activate(body, activation, body.add("Conv", x, "weight", "bias", refs=["group", *window]))
    if ragged:
        body.add("Slice", y, body.integers(0), body.size("out_channels"), body.integers(1), output="y")
    else:
        body.add("Identity", y, output="y")
    attributes = ["group", "block_c", "in_channels", "out_channels", *window, *ACTIVATIONS[activation]]
    return body.function(domain, CONV + activation, ["x", "weight", "index", "bias"], attributes)


def _activate(body: Body, activation: ActivationName, x: str) -> str:
    """Returns the activation of a value, in the patterns that onnxruntime fuses."""
    match activation:
        case "":
            return x
        case "Relu" | "Sigmoid" | "Tanh":
            return body.add(activation, x)
        case "LeakyRelu" | "HardSigmoid":
            return body.add(activation, x, refs=ACTIVATIONS[activation])
        case "Clip":
            return body.add("Clip", x, body.number("min", x), body.number("max", x))
        case "HardSwish":
            return body.add("Mul", x, body.add("HardSigmoid", x, alpha=1 / 6, beta=0.5))
        case "Silu":
            return body.add("Mul", x, body.add("Sigmoid", x))
        case "Gelu":
            wide = body.add("Erf", body.add("Div", x, body.number(math.sqrt(2), x)))
        case "GeluTanh":
            cube = body.add("Mul", x, body.add("Mul", x, x))
            inner = body.add("Add", x, body.add("Mul", cube, body.number(0.044715, x)))
            wide = body.add("Tanh", body.add("Mul", inner, body.number(math.sqrt(2 / math.pi), x)))
    twice = body.add("Mul", x, body.add("Add", wide, body.number(1.0, x)))
    return body.add("Mul", twice, body.number(0.5, x))
