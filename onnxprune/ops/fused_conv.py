"""FusedConv of onnxruntime: y = activation(Conv(x, w, b) + z)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import unify
from onnxprune.ops.base import AxisContext, AxisList, MaskContext, TwinContext, attribute, describe, input_name
from onnxprune.ops.common import settle_contraction
from onnxprune.ops.conv import Conv
from onnxprune.ops.fused_activation import activate_masks, torch_activation
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["FusedConv"]

_SUM = 3


@register_op
class FusedConv(Conv):
    """Convolution, an added tensor of the output's shape, and an activation; the latter two optional."""

    names = ("FusedConv",)
    domain = "com.microsoft"

    @staticmethod
    def _activation(node: gs.Node) -> tuple[str, list[float]]:
        return str(attribute(node, "activation", "")), list(attribute(node, "activation_params", []))

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        (out,) = super().axes(node, ctx)
        if input_name(node, _SUM):
            for axis, added in zip(out, ctx.axes(input_name(node, _SUM)), strict=True):
                unify(axis, added, describe(node))
        return [out]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        weight = node.inputs[1].name
        added = [name for slot in (2, _SUM) if (name := input_name(node, slot))]
        settle_contraction(node, ctx, weight, [ctx.axes(weight)[1]], node.inputs[0].name, added)
        activate_masks(node, ctx, *self._activation(node))

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        conv = super().torch(node, ctx)
        activation = torch_activation(node, *self._activation(node))

        def fused_conv(
            x: torch.Tensor,
            weight: torch.Tensor,
            bias: torch.Tensor | None = None,
            added: torch.Tensor | None = None,
        ) -> torch.Tensor:
            y = conv(x, weight, bias)
            assert not isinstance(y, tuple)  # a convolution has one output
            return activation(y if added is None else y + added)

        return fused_conv
