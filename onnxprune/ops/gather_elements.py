"""GatherElements and GatherND: what the indices address stays whole, what is carried along may go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import pin, unify
from onnxprune.ops.base import (
    AxisContext,
    AxisList,
    Mask,
    MaskContext,
    OpRule,
    TwinContext,
    attribute,
    describe,
    open_atoms,
)
from onnxprune.ops.common import pin_input
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["GatherElements", "GatherND"]


class _Lookup(OpRule):
    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        data, output = node.inputs[0].name, node.outputs[0].name
        for atom in open_atoms(ctx, output):
            ctx.set(output, atom, Mask.ZERO if ctx.state(data, atom) is Mask.ZERO else Mask.FINITE)


@register_op
class GatherElements(_Lookup):
    """out[i, j] = x[index[i, j], j] for axis 0: the index runs over the other axes as x does."""

    names = ("GatherElements",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        x, index = ctx.axes(node.inputs[0].name), ctx.axes(node.inputs[1].name)
        at = int(attribute(node, "axis", 0)) % len(x)
        out: AxisList = []
        for position, (data, places) in enumerate(zip(x, index, strict=True)):
            if position != at and data.size == places.size:
                unify(data, places, describe(node))
            else:
                reason = f"{describe(node)} looks positions up along this axis"
                pin(data, reason)
                pin(places, reason)
            out.append(places)
        return [out]

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        axis = int(attribute(node, "axis", 0))

        def gather_elements(x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
            index = index.long()
            return torch.gather(x, axis, torch.where(index < 0, index + x.shape[axis], index))

        return gather_elements


@register_op
class GatherND(_Lookup):
    """out[b…, p…, c…] = x[b…, index[b…, p…, :], c…]: the axes c are carried along."""

    names = ("GatherND",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        x, index = ctx.axes(node.inputs[0].name), ctx.axes(node.inputs[1].name)
        batch = int(attribute(node, "batch_dims", 0))
        for data, places in zip(x[:batch], index[:batch], strict=True):
            unify(data, places, describe(node))
        addressed = batch + index[-1].size
        for axis in (*x[batch:addressed], index[-1]):
            pin(axis, f"{describe(node)} looks positions up along this axis")
        if ctx.constant(node.inputs[1].name) is not None:
            pin_input(node, 1, ctx, "reads it as positions")
        return [[*index[:-1], *x[addressed:]]]

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        batch = int(attribute(node, "batch_dims", 0))

        def gather_nd(x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
            # each batch axis counts along its own axis of the index
            rank = index.dim() - 1
            lead = [torch.arange(x.shape[i], device=x.device).reshape(-1, *[1] * (rank - i - 1)) for i in range(batch)]
            return x[(*lead, *index.long().unbind(-1))]

        return gather_nd
