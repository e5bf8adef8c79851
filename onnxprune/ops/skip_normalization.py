"""Normalisations that onnxruntime's optimizer fuses with what stands before them.

SkipLayerNormalization            y = γ (s − μ) / √(σ² + ε) + β       s = x + skip (+ bias)
SkipSimplifiedLayerNormalization  y = γ s / √(mean(s²) + ε)
EmbedLayerNormalization           y = LayerNormalization(word[ids] + position[p] (+ segment[q]))

Statistics run over the last axis, the width. The sum s may be an output of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import leaves, pin, unify
from onnxprune.core.group import Role
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
from onnxprune.ops.common import broadcast, fresh, pin_input, soften, sum_mask
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["EmbedLayerNormalization", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization"]

_IDS, _SEGMENTS, _WORDS, _POSITIONS, _SEGMENT_TABLE, _SCALE, _SHIFT, _MASK, _POSITION_IDS = range(9)
_TABLES = (_WORDS, _POSITIONS, _SEGMENT_TABLE)


@register_op
class SkipLayerNormalization(OpRule):
    """Outputs: y, mean, 1 / deviation, and the sum s; the middle two only where asked for."""

    names = ("SkipLayerNormalization",)
    domain = "com.microsoft"
    statistics = True
    bias_slot = 4

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        x = ctx.axes(node.inputs[0].name)
        soften(x[-1], ctx, f"{describe(node)} takes statistics over this axis")
        operands = [x] + [ctx.axes(t.name) for t in node.inputs[1:] if t.name]
        broadcast(operands, ctx.shape(node.inputs[0].name), describe(node))
        statistics: AxisList = [*x[:-1], *fresh([1], "has size one")]
        return [list(x), statistics, list(statistics), list(x)][: len(node.outputs)]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        x = node.inputs[0].name
        inside = set(leaves(ctx.axes(x)[-1]))
        terms = [name for slot in (0, 1, self.bias_slot) if (name := input_name(node, slot))]
        for slot, output in enumerate(node.outputs):
            for atom in open_atoms(ctx, output.name):
                if atom in inside:
                    state = Mask.ZERO
                else:
                    total = sum_mask([ctx.state(name, atom) for name in terms])
                    state = total if slot == 3 else Mask.FINITE  # normalising zeros gives β
                ctx.set(output.name, atom, state)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        epsilon = attribute(node, "epsilon", 1e-12)
        count = len(node.outputs)

        def skip_layer_norm(
            x: torch.Tensor,
            skip: torch.Tensor,
            scale: torch.Tensor,
            shift: torch.Tensor | None = None,
            bias: torch.Tensor | None = None,
        ) -> torch.Tensor | tuple[torch.Tensor, ...]:
            total = x + skip if bias is None else x + skip + bias
            variance, mean = torch.var_mean(total, -1, unbiased=False, keepdim=True)
            factor = torch.rsqrt(variance + epsilon)
            y = (total - mean) * factor * scale
            y = y if shift is None else y + shift
            return (y, mean, factor, total)[:count] if count > 1 else y

        return skip_layer_norm


@register_op
class SkipSimplifiedLayerNormalization(SkipLayerNormalization):
    """The same without mean and shift."""

    names = ("SkipSimplifiedLayerNormalization",)
    bias_slot = 3

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        epsilon = attribute(node, "epsilon", 1e-12)
        count = len(node.outputs)

        def skip_rms_norm(
            x: torch.Tensor, skip: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None = None
        ) -> torch.Tensor | tuple[torch.Tensor | None, ...]:
            total = x + skip if bias is None else x + skip + bias
            factor = torch.rsqrt(total.square().mean(-1, keepdim=True) + epsilon)
            y = total * factor * scale
            return (y, None, factor, total)[:count] if count > 1 else y

        return skip_rms_norm


@register_op
class EmbedLayerNormalization(OpRule):
    """Sums rows of two or three tables and normalises; rows are positions, the width is shared."""

    names = ("EmbedLayerNormalization",)
    domain = "com.microsoft"
    statistics = True

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        ids = ctx.axes(node.inputs[_IDS].name)
        width = ctx.axes(node.inputs[_WORDS].name)[1]
        for slot in (_IDS, _SEGMENTS, _MASK, _POSITION_IDS):
            pin_input(node, slot, ctx, "reads it as positions")
        for slot in (*_TABLES, _SCALE, _SHIFT):
            if input_name(node, slot):
                unify(width, ctx.axes(input_name(node, slot))[-1], describe(node))
        soften(width, ctx, f"{describe(node)} takes statistics over this axis")
        for slot in _TABLES:
            if input_name(node, slot):
                pin(ctx.axes(input_name(node, slot))[0], f"{describe(node)} looks positions up along this axis")
        out: AxisList = [*ids, width]
        return [out, [ids[0]], list(out)][: len(node.outputs)]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        for output in node.outputs:
            for atom in open_atoms(ctx, output.name):
                ctx.set(output.name, atom, Mask.ZERO)  # the width alone is open

    def role(self, node: gs.Node, slot: int, axis: int, rank: int) -> Role:
        if slot not in _TABLES:
            return "vector"
        return "producer" if axis else "consumer"

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch
        import torch.nn.functional as F

        epsilon = attribute(node, "epsilon", 1e-12)
        count = len(node.outputs)

        def embed_layer_norm(
            ids: torch.Tensor,
            segments: torch.Tensor | None,
            words: torch.Tensor,
            positions: torch.Tensor,
            segment_table: torch.Tensor | None,
            scale: torch.Tensor,
            shift: torch.Tensor,
            mask: torch.Tensor | None = None,
            position_ids: torch.Tensor | None = None,
        ) -> torch.Tensor | tuple[torch.Tensor, ...]:
            places = torch.arange(ids.shape[1], device=ids.device) if position_ids is None else position_ids
            total = words[ids.long()] + positions[places.long()]
            if segments is not None and segment_table is not None:
                total = total + segment_table[segments.long()]
            y = F.layer_norm(total, total.shape[-1:], scale, shift, epsilon)
            lengths = ids.new_zeros(len(ids)) if mask is None else mask.sum(1, dtype=mask.dtype)
            return (y, lengths, total)[:count] if count > 1 else y

        return embed_layer_norm
