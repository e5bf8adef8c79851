"""OneHot: an axis of `depth` entries of which one is on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import Atom
from onnxprune.ops.base import AxisContext, AxisList, Mask, MaskContext, OpRule, TwinContext, attribute, describe
from onnxprune.ops.common import pin_input, set_all
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["OneHot"]


@register_op
class OneHot(OpRule):
    """values[1] where the index is, values[0] elsewhere, along a new axis at `axis`."""

    names = ("OneHot",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        pin_input(node, 1, ctx, "reads it as a size")
        pin_input(node, 2, ctx, "reads it as off and on")
        index, shape = ctx.axes(node.inputs[0].name), ctx.shape(node.outputs[0].name)
        at = int(attribute(node, "axis", -1)) % len(shape)
        return [[*index[:at], Atom(shape[at], f"{describe(node)} bakes its size in"), *index[at:]]]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        set_all(node, ctx, Mask.FINITE)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        axis = int(attribute(node, "axis", -1))

        def one_hot(index: torch.Tensor, depth: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
            size, dim = int(depth.item()), axis % (index.dim() + 1)
            classes = torch.arange(size, device=index.device).reshape(size, *[1] * (index.dim() - dim))
            place = index.long().unsqueeze(dim)
            hot = torch.where(place < 0, place + size, place) == classes
            return torch.where(hot, values[1], values[0])

        return one_hot
