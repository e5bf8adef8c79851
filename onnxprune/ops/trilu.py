"""Trilu: a triangle of the last two axes, whose positions therefore count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import pin
from onnxprune.ops.base import AxisContext, AxisList, OpRule, TwinContext, attribute, describe
from onnxprune.ops.common import pin_input
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["Trilu"]


@register_op
class Trilu(OpRule):
    """The upper or lower triangle, shifted by `k`; zero elsewhere."""

    names = ("Trilu",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        pin_input(node, 1, ctx, "reads it as a shift")
        x = ctx.axes(node.inputs[0].name)
        for axis in x[-2:]:
            pin(axis, f"{describe(node)} takes a triangle of this axis")
        return [list(x)]

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        function = torch.triu if attribute(node, "upper", 1) else torch.tril

        def trilu(x: torch.Tensor, k: torch.Tensor | None = None) -> torch.Tensor:
            return function(x, 0 if k is None else int(k.item()))

        return trilu
