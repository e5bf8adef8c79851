"""Matrix products with what onnxruntime's optimizer folds into them.

FusedMatMul  Y = α · A' B'. transBatch moves the first axis of an operand behind its batch axes,
             trans swaps the last two after that.
FusedGemm    Y = activation(α · A' B' + β · C)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import Poly, unify
from onnxprune.core.group import Role
from onnxprune.ops.base import AxisContext, AxisList, MaskContext, OpRule, SizeContext, TwinContext, attribute, describe
from onnxprune.ops.common import broadcast, settle_contraction
from onnxprune.ops.fused_activation import activate_masks, torch_activation
from onnxprune.ops.gemm import Gemm
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["FusedGemm", "FusedMatMul"]


def _order(node: gs.Node, slot: int, rank: int) -> list[int]:
    """Returns which axis of operand `slot` stands where in the matrix product."""
    side, order = "AB"[slot], list(range(rank))
    if attribute(node, f"transBatch{side}", 0):
        order = [*order[1:-1], 0, order[-1]]
    if attribute(node, f"trans{side}", 0) and rank > 1:
        order[-2:] = order[:-3:-1]
    return order


@register_op
class FusedMatMul(OpRule):
    """Matrix product of operands that may be transposed, times a number."""

    names = ("FusedMatMul",)
    domain = "com.microsoft"

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        a, b = (
            [axes[i] for i in _order(node, slot, len(axes))]
            for slot, axes in enumerate(ctx.axes(t.name) for t in node.inputs)
        )
        where, shape = describe(node), ctx.shape(node.outputs[0].name)
        unify(a[-1], b[-2] if len(b) > 1 else b[0], where)
        ends = [*a[-2:-1], *(b[-1:] if len(b) > 1 else [])]
        batch = shape[: len(shape) - len(ends)]
        return [[*broadcast([a[:-2], b[:-2]], batch, where), *ends]]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        a, b = node.inputs[0].name, node.inputs[1].name
        axes = ctx.axes(a)
        settle_contraction(node, ctx, a, [axes[_order(node, 0, len(axes))[-1]]], b)

    def role(self, node: gs.Node, slot: int, axis: int, rank: int) -> Role:
        place = _order(node, slot, rank).index(axis)
        if place == (rank - 1 if slot == 0 else max(rank - 2, 0)):
            return "consumer"
        return "producer" if place >= rank - 2 else "vector"

    def macs(self, node: gs.Node, ctx: SizeContext) -> Poly:
        a = ctx.sizes(node.inputs[0].name)
        return Poly.product([*ctx.sizes(node.outputs[0].name), a[_order(node, 0, len(a))[-1]]])

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        alpha = attribute(node, "alpha", 1.0)

        def fused_matmul(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            y = torch.matmul(a.permute(_order(node, 0, a.dim())), b.permute(_order(node, 1, b.dim())))
            return y if alpha == 1 else y * alpha

        return fused_matmul


@register_op
class FusedGemm(Gemm):
    """Gemm and an activation."""

    names = ("FusedGemm",)
    domain = "com.microsoft"

    @staticmethod
    def _activation(node: gs.Node) -> tuple[str, list[float]]:
        # onnxruntime takes every number from the node, without the defaults of the plain operators
        return str(attribute(node, "activation", "")), [
            float(attribute(node, f"activation_{key}", 0.0)) for key in ("alpha", "beta")
        ]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        super().masked(node, ctx)
        activate_masks(node, ctx, *self._activation(node))

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        gemm = super().torch(node, ctx)
        activation = torch_activation(node, *self._activation(node))

        def fused_gemm(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor | None = None) -> torch.Tensor:
            y = gemm(a, b, c)
            assert not isinstance(y, tuple)  # a matrix product has one output
            return activation(y)

        return fused_gemm
