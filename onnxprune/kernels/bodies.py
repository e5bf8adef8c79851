"""The block-sparse operators in standard operators: one model-local function for each.

    MatMul: x [M, K] → blocks [M, K/b, b] → Gather by index [M, G, r, b] → [G, M, R] @ W [G, R, T] → [M, G·T]
    Conv:   x [B, K, P] → blocks [B, K/b, b·P] → Gather by index [B, G·r, b·P] → Conv with G groups

Bodies hold for every shape and for each element type; sizes come from attributes, so that onnxruntime folds all but
the arithmetic when it loads a model. Where sizes divide (see `nodes`), the operators that pad and cut are left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from onnx import AttributeProto, FunctionProto, NodeProto, helper

from onnxprune.core.errors import UsageError
from onnxprune.kernels.activation import ACTIVATIONS, ActivationName
from onnxprune.kernels.nodes import CONV, DOMAIN, MATMUL

__all__ = ["OLDEST_OPSET", "conv_body", "matmul_body"]

OLDEST_OPSET = 13
_ALLOW_ZERO = 14
_CAST_LIKE = 15


class _Body:
    """Nodes in the making; each value is named by its place."""

    def __init__(self, opset: int) -> None:
        if opset < OLDEST_OPSET:
            raise UsageError(
                f"Block-sparse operators need opset {OLDEST_OPSET} or newer, the model has {opset}; convert it with "
                "onnx.version_converter."
            )
        self.opset = opset
        self.nodes: list[NodeProto] = []

    def add(
        self, op: str, *inputs: str, output: str = "", refs: Sequence[str] = (), **attributes: int | float | list[int]
    ) -> str:
        """Returns the output of a new node; `refs` are attributes that are handed on from the function's."""
        output = output or f"v{len(self.nodes)}"
        node = helper.make_node(op, list(inputs), [output])
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        node.attribute.extend(_reference(name, name) for name in refs)
        self.nodes.append(node)
        return output

    def integers(self, *values: int) -> str:
        return self.add("Constant", value_ints=list(values))

    def size(self, name: str) -> str:
        """Returns an integer attribute of the function as int64 [1]."""
        output = self.add("Constant")
        self.nodes[-1].attribute.append(_reference("value_int", name))
        return self.add("Reshape", output, self.integers(1))

    def number(self, value: float | str, like: str) -> str:
        """Returns a number, or a float attribute of the function, in the element type of `like`."""
        if isinstance(value, str):
            output = self.add("Constant")
            self.nodes[-1].attribute.append(_reference("value_float", value))
        else:
            output = self.add("Constant", value_float=value)
        # before CastLike existed only float32 can be served
        return self.add("CastLike", output, like) if self.opset >= _CAST_LIKE else output

    def part(self, sizes: str, start: int, end: int) -> str:
        return self.add("Slice", sizes, self.integers(start), self.integers(end))

    def blocks(self, inputs: str, block: str) -> str:
        """Returns how many blocks the inputs make."""
        return self.add("Div", self.add("Sub", self.add("Add", inputs, block), self.integers(1)), block)

    def reshape(self, x: str, *sizes: str, output: str = "") -> str:
        """Returns `x` with a shape of several parts, in which a zero is a zero."""
        shape = self.add("Concat", *sizes, axis=0)
        if self.opset < _ALLOW_ZERO:
            return self.add("Reshape", x, shape, output=output)
        return self.add("Reshape", x, shape, output=output, allowzero=1)

    def function(
        self, name: str, inputs: Sequence[str], attributes: Sequence[str], activation: ActivationName
    ) -> FunctionProto:
        """Returns the function of these nodes, whose last gives y."""
        return helper.make_function(
            DOMAIN,
            name + activation,
            list(inputs),
            ["y"],
            self.nodes,
            [helper.make_opsetid("", self.opset)],
            attributes=[*attributes, *ACTIVATIONS[activation]],
        )


def matmul_body(activation: ActivationName, opset: int, *, ragged: bool = True) -> FunctionProto:
    """Returns the body of BlockSparseMatMul.

    Args:
        activation: What it ends with.
        opset: Version of the standard operators.
        ragged: Whether K may be no multiple of b, or N none of T.

    Raises:
        UsageError: when the opset is too old.
    """
    body = _Body(opset)
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
    inputs_of_function = ["x", "weight", "index", "bias"]
    return body.function(MATMUL, inputs_of_function, ["block_k", "in_features", "out_features"], activation)


def conv_body(activation: ActivationName, opset: int, *, ragged: bool = True) -> FunctionProto:
    """Returns the body of BlockSparseConv.

    Args:
        activation: What it ends with.
        opset: Version of the standard operators.
        ragged: Whether K may be no multiple of b, or N none of T.

    Raises:
        UsageError: when the opset is too old.
    """
    body = _Body(opset)
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
    attributes = ["group", "block_c", "in_channels", "out_channels", *window]
    return body.function(CONV, ["x", "weight", "index", "bias"], attributes, activation)


def _activate(body: _Body, activation: ActivationName, x: str) -> str:
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


def _reference(name: str, attribute: str) -> AttributeProto:
    """Returns an attribute of a node in a function's body that takes its value from the function's."""
    kinds = {
        "value_int": AttributeProto.INT,
        "value_float": AttributeProto.FLOAT,
        "alpha": AttributeProto.FLOAT,
        "beta": AttributeProto.FLOAT,
        "group": AttributeProto.INT,
    }
    return AttributeProto(name=name, ref_attr_name=attribute, type=kinds.get(name, AttributeProto.INTS))
