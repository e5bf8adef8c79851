"""Operators on the bits of integers: shifts, masks, and reading a number's bytes as another type."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxprune.ops.base import TwinContext, attribute
from onnxprune.ops.identity import torch_dtype
from onnxprune.ops.registry import register_twin
from onnxprune.ops.twin import Twin
from onnxprune.ops.unsigned import by_numpy, with_unsigned

if TYPE_CHECKING:
    from onnxprune.ops.base import TorchFunction

__all__ = ["BitCast", "BitShift", "Bitwise"]


@register_twin
class BitCast(Twin):
    """The same bytes read as another type of the same width."""

    names = ("BitCast",)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        dtype = torch_dtype(node.attrs["to"])
        return lambda x: x.view(dtype)


@register_twin
class BitShift(Twin):
    """Shifts by at least the width of the type leave no bit, or the sign alone."""

    names = ("BitShift",)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        shift = _left if str(attribute(node, "direction")) == "LEFT" else _right
        return lambda x, count: by_numpy(shift, x, count)


def _left(x: NDArray[np.integer], count: NDArray[np.integer]) -> NDArray[np.integer]:
    width = np.iinfo(x.dtype).bits
    inside = (count >= 0) & (count < width)
    return np.where(inside, np.left_shift(x, np.where(inside, count, 0)), 0).astype(x.dtype)


def _right(x: NDArray[np.integer], count: NDArray[np.integer]) -> NDArray[np.integer]:
    width = np.iinfo(x.dtype).bits
    inside = (count >= 0) & (count < width)
    return np.where(inside, np.right_shift(x, np.where(inside, count, 0)), np.where(x < 0, -1, 0)).astype(x.dtype)


@register_twin
class Bitwise(Twin):
    """BitwiseAnd, BitwiseOr, BitwiseXor, BitwiseNot."""

    names = ("BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor")

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        if node.op == "BitwiseNot":
            return lambda x: by_numpy(np.invert, x)
        return {
            "BitwiseAnd": with_unsigned(torch.bitwise_and, np.bitwise_and),
            "BitwiseOr": with_unsigned(torch.bitwise_or, np.bitwise_or),
            "BitwiseXor": with_unsigned(torch.bitwise_xor, np.bitwise_xor),
        }[node.op]
