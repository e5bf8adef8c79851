"""DepthToSpace and SpaceToDepth: b×b pixels from b² channels, and back.

    DCR: deep axis = Prod(b, b, c)      CRD: deep axis = Prod(c, b, b)

The channels c go through; one of them is b² channels on the deep side. This is PixelShuffle (CRD).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import Atom, Axis, product, unify
from onnxprune.ops.base import AxisContext, AxisList, OpRule, TwinContext, attribute, describe
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["DepthToSpace", "SpaceToDepth"]


def _column_first(node: gs.Node) -> bool:
    """Returns whether the channels are the slowest part of the deep axis."""
    return str(attribute(node, "mode", "DCR")) == "CRD"


class _Blocks(OpRule):
    """The parts that both directions share: the block's rows and columns always stay."""

    @staticmethod
    def _sides(node: gs.Node) -> tuple[Atom, Atom]:
        size, reason = int(node.attrs["blocksize"]), f"{describe(node)} makes pixels of this part"
        return Atom(size, reason), Atom(size, reason)

    @staticmethod
    def _deep(node: gs.Node, channels: Axis, rows: Axis, columns: Axis) -> Axis:
        return product(channels, rows, columns) if _column_first(node) else product(rows, columns, channels)


@register_op
class DepthToSpace(_Blocks):
    """Channels to pixels."""

    names = ("DepthToSpace",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        x = ctx.axes(node.inputs[0].name)
        rows, columns = self._sides(node)
        channels = Atom(x[1].size // (rows.size * columns.size))
        unify(x[1], self._deep(node, channels, rows, columns), describe(node))
        return [[x[0], channels, product(x[2], rows), product(x[3], columns)]]

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        size, order = int(node.attrs["blocksize"]), (0, 1, 4, 2, 5, 3) if _column_first(node) else (0, 3, 4, 1, 5, 2)

        def depth_to_space(x: torch.Tensor) -> torch.Tensor:
            n, deep, height, width = x.shape
            channels = deep // size**2
            split = (channels, size, size) if _column_first(node) else (size, size, channels)
            blocks = x.reshape(n, *split, height, width).permute(order)
            return blocks.reshape(n, channels, height * size, width * size)

        return depth_to_space


@register_op
class SpaceToDepth(_Blocks):
    """Pixels to channels."""

    names = ("SpaceToDepth",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        x = ctx.axes(node.inputs[0].name)
        rows, columns = self._sides(node)
        height, width = (Atom(axis.size // rows.size) for axis in x[2:])
        unify(x[2], product(height, rows), describe(node))
        unify(x[3], product(width, columns), describe(node))
        return [[x[0], self._deep(node, x[1], rows, columns), height, width]]

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        size, order = int(node.attrs["blocksize"]), (0, 1, 3, 5, 2, 4) if _column_first(node) else (0, 3, 5, 1, 2, 4)

        def space_to_depth(x: torch.Tensor) -> torch.Tensor:
            n, channels, height, width = x.shape
            rows, columns = height // size, width // size
            blocks = x.reshape(n, channels, rows, size, columns, size).permute(order)
            return blocks.reshape(n, channels * size**2, rows, columns)

        return space_to_depth
