"""MatMulInteger: Y = (A − a₀)(B − b₀) in int32, which dynamic quantisation writes in place of MatMul.

An integer stands for zero where it equals its zero point, so a dropped term must be one of those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import Atom, leaves, pin, unify
from onnxprune.core.group import Role
from onnxprune.ops.base import AxisContext, AxisList, Mask, MaskContext, TwinContext, describe, input_name, open_atoms
from onnxprune.ops.common import product_mask
from onnxprune.ops.matmul import MatMul
from onnxprune.ops.quantization import real_state
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["MatMulInteger"]


@register_op
class MatMulInteger(MatMul):
    """Matrix product of quantised matrices; zero points are one number, or one per row of A or column of B."""

    names = ("MatMulInteger",)
    since = 10

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        for slot, place in ((2, -2), (3, -1)):
            zero = ctx.axes(input_name(node, slot)) if input_name(node, slot) else []
            if len(zero) == 1 and zero[0].size > 1:
                unify(zero[0], ctx.axes(node.inputs[slot - 2].name)[place], describe(node))
            elif len(zero) > 1:
                for axis in (*zero, *ctx.axes(node.inputs[slot - 2].name)):
                    pin(axis, f"{describe(node)} has zero points of several axes")
        return super().axes(node, ctx)

    @staticmethod
    def _product(node: gs.Node, atom: Atom, ctx: MaskContext) -> Mask:
        return product_mask([real_state(node.inputs[i], input_name(node, i + 2), atom, ctx) for i in (0, 1)])

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        contracted = ctx.axes(node.inputs[0].name)[-1]
        for atom in dict.fromkeys(leaves(contracted)):
            if not atom.pinned and self._product(node, atom, ctx) is not Mask.ZERO:
                pin(atom, f"{describe(node)} sums over channels that are not zero where masked")
        output = node.outputs[0].name
        for atom in open_atoms(ctx, output):
            ctx.set(output, atom, self._product(node, atom, ctx))

    def role(self, node: gs.Node, slot: int, axis: int, rank: int) -> Role:
        return "vector" if slot > 1 else super().role(node, slot, axis, rank)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        read_here = bool(node.outputs[0].outputs)

        def matmul_integer(
            a: torch.Tensor, b: torch.Tensor, zero_a: torch.Tensor | None = None, zero_b: torch.Tensor | None = None
        ) -> torch.Tensor:
            x, y = a.double(), b.double()  # exact, and lets gradients pass
            if zero_a is not None:
                x = x - (zero_a[:, None] if zero_a.dim() == 1 and len(zero_a) > 1 else zero_a)
            if zero_b is not None:
                y = y - zero_b
            product = torch.matmul(x, y)
            return product if read_here else product.to(torch.int32)

        return matmul_integer
