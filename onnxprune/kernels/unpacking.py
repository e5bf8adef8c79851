"""Packed weights expanded to dense ones, in standard operators: the form "densify".

    UnpackMatMul(values [G, R, T], index int64 [G, r]) → [K, N]
    UnpackConv(values [G·T, R, kernel...], index int64 [G, r]) → [N, K, kernel...]

with the symbols of `nodes`. Blocks become rows of a table of all blocks, zero where none was kept:

    table [G · ⌈K/b⌉, …] of zeros,   row g · ⌈K/b⌉ + index[g, i] = block i of tile g,

which is then put in the order of the weight and cut to K and N. Both inputs are constants, so that onnxruntime
computes all of it once, when it loads a model, and goes on with a dense weight as if that had been stored.
"""

from __future__ import annotations

from onnx import FunctionProto

from onnxprune.kernels.body import Body
from onnxprune.kernels.nodes import PORTABLE, UNPACK_CONV, UNPACK_MATMUL

__all__ = ["UNPACK_ATTRIBUTES", "unpack_conv_body", "unpack_matmul_body"]

UNPACK_ATTRIBUTES = ("block_size", "in_size", "out_size", "element")


def unpack_matmul_body(opset: int) -> FunctionProto:
    """Returns the body of UnpackMatMul.

    Args:
        opset: Version of the standard operators.

    Raises:
        UsageError: when the opset is too old.
    """
    body = Body(opset)
    table = _Table(body)
    tile = body.part(body.add("Shape", "values"), 2, 3)
    filled = table.fill("values", body.add("Mul", table.block, tile))
    y = body.reshape(filled, table.tiles, table.rows, tile)
    y = body.add("Transpose", y, perm=[1, 0, 2])
    y = body.reshape(y, table.rows, body.add("Mul", table.tiles, tile))
    ends = body.add("Concat", table.inputs, table.outputs, axis=0)
    body.add("Slice", y, body.integers(0, 0), ends, output="y")
    return body.function(PORTABLE, UNPACK_MATMUL, ["values", "index"], UNPACK_ATTRIBUTES)


def unpack_conv_body(opset: int) -> FunctionProto:
    """Returns the body of UnpackConv.

    Args:
        opset: Version of the standard operators.

    Raises:
        UsageError: when the opset is too old.
    """
    body = Body(opset)
    table = _Table(body)
    shape = body.add("Shape", "values")
    kernel = body.part(shape, 2, 9)
    tile = body.add("Div", body.part(shape, 0, 1), table.tiles)
    block = body.add("Mul", table.block, body.add("ReduceProd", kernel, keepdims=1))
    values = body.reshape("values", table.tiles, tile, table.kept, block)
    values = body.add("Transpose", values, perm=[0, 2, 1, 3])
    filled = table.fill(values, body.add("Mul", tile, block))
    y = body.reshape(filled, table.tiles, table.count, tile, block)
    y = body.add("Transpose", y, perm=[0, 2, 1, 3])
    y = body.reshape(y, body.add("Mul", table.tiles, tile), table.rows, kernel)
    ends = body.add("Concat", table.outputs, table.inputs, axis=0)
    body.add("Slice", y, body.integers(0, 0), ends, output="y")
    return body.function(PORTABLE, UNPACK_CONV, ["values", "index"], UNPACK_ATTRIBUTES)


class _Table:
    """The table of all blocks, tile after tile."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self.block, self.inputs, self.outputs = (body.size(name) for name in UNPACK_ATTRIBUTES[:3])
        self.count = body.blocks(self.inputs, self.block)
        self.rows = body.add("Mul", self.count, self.block)
        shape = body.add("Shape", "index")
        self.tiles, self.kept = body.part(shape, 0, 1), body.part(shape, 1, 2)

    def fill(self, values: str, width: str) -> str:
        """Returns the table [G · ⌈K/b⌉, width] with the blocks that were kept, which are rows of `values`."""
        body, total = self.body, self.body.add("Mul", self.tiles, self.count)
        blocks = body.reshape(values, body.add("Mul", self.tiles, self.kept), width)
        zeros = body.add("ConstantOfShape", body.add("Concat", total, width, axis=0))
        first = body.add("Range", *(body.add("Squeeze", n) for n in (body.integers(0), total, self.count)))
        at = body.add("Add", "index", body.add("Reshape", first, body.integers(-1, 1)))
        at = body.add("Reshape", at, body.integers(-1, 1))
        return body.add("ScatterND", body.cast(zeros, "element"), at, blocks)
