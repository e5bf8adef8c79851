"""Concat: Sum(parts) along one axis, equal channels along all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import Atom, leaves, total, unify
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
    from onnxprune.ops.base import TorchFunction

__all__ = ["Concat"]


@register_op
class Concat(OpRule):
    """Concatenation along `axis`."""

    names = ("Concat",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        shape = ctx.shape(node.outputs[0].name)
        at = int(attribute(node, "axis", 1)) % len(shape)
        operands = [ctx.axes(t.name) for t in node.inputs]
        parts = [axes for axes in operands if all(axis.size for axis in axes)]
        if not parts:
            return [[Atom(size, f"{describe(node)} is empty") for size in shape]]
        out = list(parts[0])
        for other in parts[1:]:
            for position in range(len(shape)):
                if position != at:
                    unify(out[position], other[position], describe(node))
        out[at] = total([axes[at] for axes in parts])
        ctx.note(node, "joined", out[at])
        return [out]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        output = node.outputs[0].name
        at = int(attribute(node, "axis", 1)) % len(ctx.axes(output))
        joined = set(leaves(ctx.axes(output)[at]))
        for atom in open_atoms(ctx, output):
            states = [ctx.state(t.name, atom) for t in node.inputs]
            if atom in joined:  # only the parts that run over the atom hold its channels
                states = [s for s in states if s is not Mask.ABSENT]
            zero = bool(states) and all(s is Mask.ZERO for s in states)
            ctx.set(output, atom, Mask.ZERO if zero else Mask.FINITE)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        dim = int(attribute(node, "axis", 1))
        return lambda *xs: torch.cat(xs, dim)
