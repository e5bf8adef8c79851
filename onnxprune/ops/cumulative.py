"""CumSum and CumProd: running totals along an axis, whose order therefore counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import pin
from onnxprune.ops.base import AxisContext, AxisList, Mask, MaskContext, OpRule, TwinContext, attribute, describe
from onnxprune.ops.common import pin_input, set_all
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["Cumulative"]


@register_op
class Cumulative(OpRule):
    """Totals of all entries up to each; `exclusive` leaves the entry itself out, `reverse` runs from the end."""

    names = ("CumProd", "CumSum")

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        pin_input(node, 1, ctx, "reads it as an axis")
        x = ctx.axes(node.inputs[0].name)
        at = ctx.constant(node.inputs[1].name)
        for axis in x if at is None else [x[int(at.reshape(-1)[0])]]:
            pin(axis, f"{describe(node)} runs along this axis")
        return [list(x)]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        # an exclusive product starts with one
        if node.op == "CumProd" and attribute(node, "exclusive", 0):
            set_all(node, ctx, Mask.FINITE)
        else:
            super().masked(node, ctx)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        function, neutral = (torch.cumsum, 0) if node.op == "CumSum" else (torch.cumprod, 1)
        exclusive, backwards = bool(attribute(node, "exclusive", 0)), bool(attribute(node, "reverse", 0))

        def cumulative(x: torch.Tensor, axis: torch.Tensor) -> torch.Tensor:
            dim = int(axis.item()) % x.dim()
            y = x.flip(dim) if backwards else x
            if exclusive:
                start = torch.full_like(y.narrow(dim, 0, 1), neutral)
                y = torch.cat([start, y.narrow(dim, 0, y.shape[dim] - 1)], dim)
            y = function(y, dim).to(x.dtype)
            return y.flip(dim) if backwards else y

        return cumulative
