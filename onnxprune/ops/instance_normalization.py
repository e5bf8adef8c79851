"""InstanceNormalization: y = γ (x − μ) / √(σ² + ε) + β, statistics per sample and channel.

Channels go exactly, as with BatchNormalization. What the axes after them hold is part of the
statistics; that they are not always maps is due to exporters, which write GroupNormalization as

    [N, C, H, W] -> Reshape [N, G, -1] -> InstanceNormalization -> Reshape -> Mul γ -> Add β

where the last axis is Prod(C/G, H, W).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import leaves, unify
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
from onnxprune.ops.common import product_mask, soften, sum_mask
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["InstanceNormalization"]


@register_op
class InstanceNormalization(OpRule):
    """Normalises each channel of each sample."""

    names = ("InstanceNormalization",)
    since = 6
    statistics = True

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        x, scale, shift = (ctx.axes(t.name) for t in node.inputs)
        for vector in (scale, shift):
            unify(x[1], vector[0], describe(node))
        for axis in x[2:]:
            soften(axis, ctx, f"{describe(node)} takes statistics over this axis")
        return [list(x)]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        x, scale, shift = (t.name for t in node.inputs)
        inside = {atom for axis in ctx.axes(x)[2:] for atom in leaves(axis)}
        for atom in open_atoms(ctx, node.outputs[0].name):
            scaled = product_mask([ctx.state(x, atom), ctx.state(scale, atom)])
            whole = sum_mask([scaled, ctx.state(shift, atom)])
            ctx.set(node.outputs[0].name, atom, Mask.ZERO if atom in inside else whole)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        epsilon = attribute(node, "epsilon", 1e-5)

        def instance_norm(x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
            dims = list(range(2, x.dim()))  # F.instance_norm refuses maps of one element in training
            variance, mean = torch.var_mean(x, dims, unbiased=False, keepdim=True)
            shape = (1, -1, *(1 for _ in dims))
            y: torch.Tensor = (x - mean) * torch.rsqrt(variance + epsilon) * scale.reshape(shape)
            return y + shift.reshape(shape)

        return instance_norm
