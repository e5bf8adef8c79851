"""Normalisations: BatchNormalization is per channel; LayerNormalization mixes channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import onnx_graphsurgeon as gs

from onnxprune.axes import leaves, pin, unify
from onnxprune.ops.base import (
    AxisContext,
    AxisList,
    Mask,
    MaskContext,
    OpRule,
    TwinContext,
    attribute,
    describe,
    input_name,
    open_atoms,
)
from onnxprune.ops.common import broadcast, product_mask, soften, sum_mask
from onnxprune.ops.registry import register_op
from onnxprune.ops.shared_statistics import normalize_together, statistics_are_shared

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["BatchNormalization", "LayerNormalization"]


@register_op
class BatchNormalization(OpRule):
    """y = γ (x − μ) / √(σ² + ε) + β per channel, with stored μ and σ² at inference."""

    names = ("BatchNormalization",)
    since = 7

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        x = ctx.axes(node.inputs[0].name)
        channel = x[1] if len(x) > 1 else x[0]
        vectors = [ctx.axes(t.name)[0] for t in node.inputs[1:]]
        for vector in vectors:
            unify(channel, vector, describe(node))
        if attribute(node, "training_mode", 0):
            for axis in x:
                if axis is not channel or len(x) == 1:
                    pin(axis, f"{describe(node)} takes the statistics of each batch")
        return [list(x)] + [[channel] for _ in node.outputs[1:]]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        _, scale, shift, mean, _ = (t.name for t in node.inputs)
        output = node.outputs[0].name
        for atom in open_atoms(ctx, output):
            centred = sum_mask([ctx.state(node.inputs[0].name, atom), ctx.state(mean, atom)])
            scaled = product_mask([centred, ctx.state(scale, atom)])
            ctx.set(output, atom, sum_mask([scaled, ctx.state(shift, atom)]))

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch
        import torch.nn.functional as F

        epsilon = attribute(node, "epsilon", 1e-5)
        rate = 1.0 - attribute(node, "momentum", 0.9)

        def by_batch(
            x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, mean: torch.Tensor, var: torch.Tensor
        ) -> tuple[torch.Tensor, ...]:
            dims = [0, *range(2, x.dim())]
            now_mean, now_var = x.mean(dims), x.var(dims, unbiased=False)
            # by its statistics' own call, no gradient would go through them; F's refuses one value per channel
            y = torch.batch_norm(x, scale, shift, None, None, True, rate, epsilon, torch.backends.cudnn.enabled)
            return y, mean * (1 - rate) + now_mean * rate, var * (1 - rate) + now_var * rate

        if attribute(node, "training_mode", 0):
            return by_batch

        def batch_norm(
            x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, mean: torch.Tensor, var: torch.Tensor
        ) -> torch.Tensor:
            if x.dim() < 2:  # a one-axis input is a batch of scalars with a single channel
                return F.batch_norm(x[:, None], mean, var, scale, shift, False, rate, epsilon)[:, 0]
            if ctx.training() and statistics_are_shared():
                return normalize_together(x, scale, shift, mean, var, rate, epsilon)
            return F.batch_norm(x, mean, var, scale, shift, ctx.training(), rate, epsilon)

        return batch_norm


@register_op
class LayerNormalization(OpRule):
    """Statistics over the trailing axes: dropping one of their channels changes all others."""

    names: ClassVar[tuple[str, ...]] = ("LayerNormalization",)
    statistics = True

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        x = ctx.axes(node.inputs[0].name)
        first = int(attribute(node, "axis", -1)) % len(x)
        for axis in x[first:]:
            soften(axis, ctx, f"{describe(node)} takes statistics over this axis")
        operands = [x] + [ctx.axes(t.name) for t in node.inputs[1:] if t.name]
        broadcast(operands, ctx.shape(node.inputs[0].name), describe(node))
        statistics: AxisList = list(x)
        for position, size in enumerate(ctx.shape(node.outputs[1].name) if len(node.outputs) > 1 else ()):
            if size == 1:
                statistics[position] = broadcast([], [1], describe(node))[0]
        return [list(x)] + [list(statistics) for _ in node.outputs[1:]]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        x = node.inputs[0].name
        first = int(attribute(node, "axis", -1)) % len(ctx.axes(x))
        inside = {atom for axis in ctx.axes(x)[first:] for atom in leaves(axis)}
        for output in node.outputs:
            for atom in open_atoms(ctx, output.name):
                # over other axes, normalising zeros gives the bias
                ctx.set(output.name, atom, Mask.ZERO if atom in inside else Mask.FINITE)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch
        import torch.nn.functional as F

        start = int(attribute(node, "axis", -1))
        epsilon = attribute(node, "epsilon", 1e-5)
        with_statistics = len(node.outputs) > 1
        has_bias = bool(input_name(node, 2))

        def layer_norm(
            x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor | None = None
        ) -> torch.Tensor | tuple[torch.Tensor, ...]:
            first = start % x.dim()
            shape = x.shape[first:]
            if scale.shape == shape and (not has_bias or (shift is not None and shift.shape == shape)):
                y = F.layer_norm(x, shape, scale, shift, epsilon)
            else:
                y = F.layer_norm(x, shape, None, None, epsilon) * scale
                y = y if shift is None else y + shift
            if not with_statistics:
                return y
            dims = list(range(first, x.dim()))
            mean = x.mean(dims, keepdim=True)
            return y, mean, torch.rsqrt(x.var(dims, unbiased=False, keepdim=True) + epsilon)

        return layer_norm
