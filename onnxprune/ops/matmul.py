"""MatMul: numpy's matrix product, with broadcast batch axes.

Between two activations (attention) the contracted axis is prunable too, as long as one side
is zero where masked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import Poly, unify
from onnxprune.core.group import Role
from onnxprune.ops.base import AxisContext, AxisList, MaskContext, OpRule, SizeContext, TwinContext, describe
from onnxprune.ops.common import broadcast, settle_contraction
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    from onnxprune.ops.base import TorchFunction

__all__ = ["MatMul"]


@register_op
class MatMul(OpRule):
    """Matrix product."""

    names = ("MatMul",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        a, b = ctx.axes(node.inputs[0].name), ctx.axes(node.inputs[1].name)
        where, shape = describe(node), ctx.shape(node.outputs[0].name)
        unify(a[-1], b[-2] if len(b) > 1 else b[0], where)
        rows = [a[-2]] if len(a) > 1 else []
        columns = [b[-1]] if len(b) > 1 else []
        batch = shape[: len(shape) - len(rows) - len(columns)]
        return [[*broadcast([a[:-2], b[:-2]], batch, where), *rows, *columns]]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        a, b = node.inputs[0].name, node.inputs[1].name
        settle_contraction(node, ctx, a, [ctx.axes(a)[-1]], b)

    def role(self, node: gs.Node, slot: int, axis: int, rank: int) -> Role:
        contracted = rank - 1 if slot == 0 else max(rank - 2, 0)
        if axis == contracted:
            return "consumer"
        return "producer" if axis >= rank - 2 else "vector"

    def macs(self, node: gs.Node, ctx: SizeContext) -> Poly:
        return Poly.product([*ctx.sizes(node.outputs[0].name), ctx.sizes(node.inputs[0].name)[-1]])

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        return torch.matmul
