"""GroupNormalization: y = γ (x − μ_g) / √(σ²_g + ε) + β, statistics per sample and group g.

The channels are Prod(G, c). Whole groups (G) go exactly: no statistics of what stays read them.
A channel within its group (c) takes part in the group's statistics, so dropping the same one of
every group is an approximation. Up to version 20, γ and β have one entry per group; since then,
one per channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import Atom, leaves, product, unify
from onnxprune.ops.base import (
    AxisContext,
    AxisList,
    Edit,
    Mask,
    MaskContext,
    OpRule,
    TwinContext,
    attribute,
    describe,
    open_atoms,
)
from onnxprune.ops.common import product_mask, soften, sum_mask
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["GroupNormalization"]

GROUPS = "groups"
WITHIN = "within"


@register_op
class GroupNormalization(OpRule):
    """Normalises each of `num_groups` runs of channels."""

    names = ("GroupNormalization",)
    since = 18
    statistics = True

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        x, scale, shift = (ctx.axes(t.name) for t in node.inputs)
        where, count = describe(node), int(node.attrs["num_groups"])
        groups, within = Atom(count), Atom(x[1].size // count)
        unify(x[1], product(groups, within), where)
        for vector in (scale[0], shift[0]):
            unify(vector, groups if vector.size == count else x[1], where)
        for axis in (within, *x[2:]):
            soften(axis, ctx, f"{where} takes statistics over the channels of a group")
        ctx.note(node, GROUPS, groups)
        ctx.note(node, WITHIN, within)
        return [list(x)]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        x, scale, shift = (t.name for t in node.inputs)
        within = ctx.noted(node, WITHIN)
        summed = [*([within] if within is not None else []), *ctx.axes(x)[2:]]
        inside = {atom for axis in summed for atom in leaves(axis)}
        for atom in open_atoms(ctx, node.outputs[0].name):
            scaled = product_mask([ctx.state(x, atom), ctx.state(scale, atom)])
            whole = sum_mask([scaled, ctx.state(shift, atom)])
            ctx.set(node.outputs[0].name, atom, Mask.ZERO if atom in inside else whole)

    def repair(self, node: gs.Node, edit: Edit) -> None:
        groups = edit.noted(node, GROUPS)
        if groups is not None:
            node.attrs["num_groups"] = int(edit.keep(groups).sum())

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch.nn.functional as F

        count = int(node.attrs["num_groups"])
        epsilon = attribute(node, "epsilon", 1e-5)
        per_channel = ctx.opset >= 21

        def group_norm(x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
            if not per_channel:
                width = x.shape[1] // count
                scale, shift = scale.repeat_interleave(width), shift.repeat_interleave(width)
            return F.group_norm(x, count, scale, shift, epsilon)

        return group_norm
