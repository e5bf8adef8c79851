"""Softmax, LogSoftmax, Hardmax: normalised over an axis whose channels must all stay."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import pin
from onnxprune.ops.base import AxisContext, AxisList, Mask, MaskContext, OpRule, TwinContext, attribute, describe
from onnxprune.ops.common import set_all
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["FlatSoftmax", "Softmax"]


class _Softmax(OpRule):
    names = ("Hardmax", "LogSoftmax", "Softmax")
    default_axis = -1
    flattens = False

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        x = ctx.axes(node.inputs[0].name)
        first = int(attribute(node, "axis", self.default_axis)) % len(x)
        for axis in x[first:] if self.flattens else x[first : first + 1]:
            pin(axis, f"{describe(node)} normalises over this axis")
        return [list(x)]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        set_all(node, ctx, Mask.FINITE)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch
        import torch.nn.functional as F

        start = int(attribute(node, "axis", self.default_axis))

        def core(x: torch.Tensor, dim: int) -> torch.Tensor:
            if node.op == "Hardmax":
                return F.one_hot(x.argmax(dim), x.shape[dim]).movedim(-1, dim).to(x.dtype)
            return torch.softmax(x, dim) if node.op == "Softmax" else torch.log_softmax(x, dim)

        def flat(x: torch.Tensor) -> torch.Tensor:
            rows = math.prod(x.shape[: start % x.dim()])
            return core(x.reshape(rows, -1), 1).reshape(x.shape)

        return flat if self.flattens else lambda x: core(x, start)


@register_op
class Softmax(_Softmax):
    """Since version 13: over one axis."""

    since = 13


@register_op
class FlatSoftmax(_Softmax):
    """Up to version 12: over all axes from `axis` on, flattened."""

    until = 12
    default_axis = 1
    flattens = True
