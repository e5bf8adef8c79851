"""Transpose: the axes in another order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.ops.base import AxisContext, AxisList, OpRule, TwinContext, attribute
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    from onnxprune.ops.base import TorchFunction

__all__ = ["Transpose"]


@register_op
class Transpose(OpRule):
    """Permutes axes; reversed where no permutation is given."""

    names = ("Transpose",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        x = ctx.axes(node.inputs[0].name)
        return [[x[p] for p in attribute(node, "perm", list(reversed(range(len(x)))))]]

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        perm = attribute(node, "perm")
        return lambda x: x.permute(list(reversed(range(x.dim()))) if perm is None else list(perm))
