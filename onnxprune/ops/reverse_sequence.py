"""ReverseSequence: the first entries of each sequence in reverse order."""

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
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["ReverseSequence"]


@register_op
class ReverseSequence(OpRule):
    """Reverses along the time axis, as far as each sequence of the batch axis goes."""

    names = ("ReverseSequence",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        x = ctx.axes(node.inputs[0].name)
        unify(x[int(attribute(node, "batch_axis", 1))], ctx.axes(node.inputs[1].name)[0], describe(node))
        pin(x[int(attribute(node, "time_axis", 0))], f"{describe(node)} reverses this axis")
        return [list(x)]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        x, output = node.inputs[0].name, node.outputs[0].name
        for atom in open_atoms(ctx, output):
            ctx.set(output, atom, Mask.ZERO if ctx.state(x, atom) is Mask.ZERO else Mask.FINITE)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        batch, time = int(attribute(node, "batch_axis", 1)), int(attribute(node, "time_axis", 0))

        def reverse_sequence(x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            steps = torch.arange(x.shape[time], device=x.device)[:, None]
            places = torch.where(steps < lengths, lengths - 1 - steps, steps)  # [time, batch]
            moved = x.movedim((time, batch), (0, 1))
            return moved[places, torch.arange(x.shape[batch], device=x.device)].movedim((0, 1), (time, batch))

        return reverse_sequence
