"""TopK: the k largest or smallest entries along an axis, and where they stood."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import Atom, pin
from onnxprune.ops.base import (
    AxisContext,
    AxisList,
    Mask,
    MaskContext,
    OpRule,
    TwinContext,
    attribute,
    describe,
    integers,
    open_atoms,
)
from onnxprune.ops.common import pin_input
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["TopK"]


@register_op
class TopK(OpRule):
    """Values and positions; of equal entries the first comes first."""

    names = ("TopK",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        pin_input(node, 1, ctx, "reads it as a count")
        x = ctx.axes(node.inputs[0].name)
        at = int(attribute(node, "axis", -1)) % len(x)
        reason = f"{describe(node)} ranks the entries of this axis"
        pin(x[at], reason)
        ranks = Atom(ctx.shape(next(t.name for t in node.outputs if t.name))[at], reason)
        return [[*x[:at], ranks, *x[at + 1 :]] for _ in node.outputs]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        for slot, output in enumerate(node.outputs):
            for atom in open_atoms(ctx, output.name):
                zero = slot == 0 and ctx.state(node.inputs[0].name, atom) is Mask.ZERO
                ctx.set(output.name, atom, Mask.ZERO if zero else Mask.FINITE)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        dim, descending = int(attribute(node, "axis", -1)), bool(attribute(node, "largest", 1))
        static = integers(node, "k", 1, ctx.constant)

        def top_k(x: torch.Tensor, k: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
            count = static[0] if static is not None or k is None else int(k.item())  # type: ignore[index]  # one is given
            order = torch.sort(x, dim=dim, descending=descending, stable=True)  # topk leaves the order of ties open
            return order.values.narrow(dim, 0, count), order.indices.narrow(dim, 0, count)

        return top_k
