"""EyeLike: a matrix with ones on a diagonal, sized as another tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import pin
from onnxprune.ops.base import AxisContext, AxisList, Mask, MaskContext, OpRule, TwinContext, attribute, describe
from onnxprune.ops.common import set_all
from onnxprune.ops.identity import torch_dtype
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["EyeLike"]


@register_op
class EyeLike(OpRule):
    """Ones where column − row = k."""

    names = ("EyeLike",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        x = ctx.axes(node.inputs[0].name)
        for axis in x:
            pin(axis, f"{describe(node)} puts ones on a diagonal of this axis")
        return [list(x)]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        set_all(node, ctx, Mask.FINITE)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        shift = int(attribute(node, "k", 0))
        dtype = torch_dtype(node.attrs["dtype"]) if "dtype" in node.attrs else None

        def eye_like(x: torch.Tensor) -> torch.Tensor:
            rows, columns = (torch.arange(n, device=x.device) for n in x.shape)
            return (columns[None, :] - rows[:, None] == shift).to(dtype or x.dtype)

        return eye_like
