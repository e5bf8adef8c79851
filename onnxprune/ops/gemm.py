"""Gemm: Y = α · A' B' + β · C, with A' and B' transposed on request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import Poly, unify
from onnxprune.core.group import Role
from onnxprune.ops.base import (
    AxisContext,
    AxisList,
    MaskContext,
    OpRule,
    SizeContext,
    TwinContext,
    attribute,
    describe,
    input_name,
)
from onnxprune.ops.common import broadcast, settle_contraction
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["Gemm"]


@register_op
class Gemm(OpRule):
    """General matrix product of two matrices."""

    names = ("Gemm",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        a, b = ctx.axes(node.inputs[0].name), ctx.axes(node.inputs[1].name)
        a = a[::-1] if attribute(node, "transA", 0) else a
        b = b[::-1] if attribute(node, "transB", 0) else b
        unify(a[1], b[0], describe(node))
        out: AxisList = [a[0], b[1]]
        if input_name(node, 2):
            broadcast([out, ctx.axes(input_name(node, 2))], ctx.shape(node.outputs[0].name), describe(node))
        return [out]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        a = node.inputs[0].name
        contracted = ctx.axes(a)[0 if attribute(node, "transA", 0) else 1]
        added = [input_name(node, 2)] if input_name(node, 2) else []
        settle_contraction(node, ctx, a, [contracted], node.inputs[1].name, added)

    def role(self, node: gs.Node, slot: int, axis: int, rank: int) -> Role:
        if slot > 1:
            return "vector"
        contracted = 1 - slot
        if attribute(node, "transB" if slot else "transA", 0):
            contracted = 1 - contracted
        return "consumer" if axis == contracted else "producer"

    def macs(self, node: gs.Node, ctx: SizeContext) -> Poly:
        inner = ctx.sizes(node.inputs[0].name)[0 if attribute(node, "transA", 0) else 1]
        return Poly.product([*ctx.sizes(node.outputs[0].name), inner])

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch.nn.functional as F

        alpha, beta = attribute(node, "alpha", 1.0), attribute(node, "beta", 1.0)
        trans_a, trans_b = bool(attribute(node, "transA", 0)), bool(attribute(node, "transB", 0))

        def gemm(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor | None = None) -> torch.Tensor:
            if trans_b and not trans_a and alpha == beta == 1 and (c is None or c.dim() == 1):
                return F.linear(a, b, c)
            y = (a.t() if trans_a else a) @ (b.t() if trans_b else b)
            y = y if alpha == 1 else y * alpha
            return y if c is None else y + (c if beta == 1 else c * beta)

        return gemm
