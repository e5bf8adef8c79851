"""Attention as onnxruntime's optimizer fuses it: projections and attention in one node.

    [Q, K, V] = X W + b        Y = softmax(scale · Q Kᵀ + masks) V

with W [input, Sum(Prod(h, d), Prod(h, d), Prod(h, e))]. Dropping channels of a head makes the widths of
Q, K and V unequal, which `qkv_hidden_sizes` tells the node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import Atom, Axis, Poly, pin, total, unify
from onnxprune.core.group import Role
from onnxprune.ops.attention_heads import (
    Heads,
    attention_macs,
    equate,
    freeze_attention,
    keep_scale,
    kept_heads,
    merge_mask,
    note_heads,
    settle_attention,
    state_of,
)
from onnxprune.ops.attention_torch import attend, merge_heads, scaled_scores, split_heads
from onnxprune.ops.base import (
    AxisContext,
    AxisList,
    Edit,
    MaskContext,
    OpRule,
    SizeContext,
    TwinContext,
    attribute,
    describe,
    input_name,
)
from onnxprune.ops.common import fresh, pin_input, settle_contraction
from onnxprune.ops.contrib_masks import added_bias, refuse_twin
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["ContribAttention"]

_X, _WEIGHT, _BIAS, _MASK, _PAST, _ADDED = range(6)
QUERY, VALUE = "query width", "value width"


def _refusal(node: gs.Node) -> str:
    """Returns which rare form of the operator a node is, or ""."""
    if attribute(node, "do_rotary", 0):
        return "rotates queries and keys itself"
    if attribute(node, "past_present_share_buffer", 0):
        return "keeps past keys in a shared buffer"
    return ""


@register_op
class ContribAttention(OpRule):
    """Self-attention with packed projections."""

    names = ("Attention",)
    domain = "com.microsoft"

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        if _refusal(node):
            return freeze_attention(node, ctx, _refusal(node))
        x, weight = ctx.axes(node.inputs[_X].name), ctx.axes(node.inputs[_WEIGHT].name)
        where = describe(node)
        heads = self._heads(node, weight[1].size)
        packed = total([heads.query_hidden, heads.key_hidden, heads.value_hidden])
        equate(where, weight[0], x[2])
        equate(where, weight[1], packed)
        if input_name(node, _BIAS):
            unify(weight[1], ctx.axes(input_name(node, _BIAS))[0], where)
        pin_input(node, _MASK, ctx, "reads it as a mask")
        pin(x[1], f"{where} normalises over this axis")
        length = self._with_past(node, ctx, x, heads)
        note_heads(node, ctx, heads, length)
        ctx.note(node, QUERY, heads.query_hidden)
        ctx.note(node, VALUE, heads.value_hidden)
        merge_mask(node, _ADDED, ctx, [x[0], heads.query, x[1], length])
        y: AxisList = [x[0], x[1], heads.hidden]
        present = [*fresh([2], f"{where} stacks keys and values"), x[0], heads.kv, length, heads.key]
        return [y, present][: len(node.outputs)]

    @staticmethod
    def _heads(node: gs.Node, width: int) -> Heads:
        count = int(node.attrs["num_heads"])
        sizes = [int(s) for s in attribute(node, "qkv_hidden_sizes", [width // 3] * 3)]
        return Heads.of(count, count, sizes[0] // count, sizes[2] // count)

    @staticmethod
    def _with_past(node: gs.Node, ctx: AxisContext, x: AxisList, heads: Heads) -> Axis:
        where, name = describe(node), input_name(node, _PAST)
        if len(node.outputs) > 1 or name:
            unify(heads.key, heads.value, f"{where} stacks keys and values")
        if not name:
            return x[1]
        past = ctx.axes(name)
        for axis in (past[0], past[3]):
            pin(axis, f"{where} stacks keys and values")
        equate(where, x[0], past[1])
        equate(where, heads.kv, past[2])
        equate(where, heads.key, past[4])
        return Atom(past[3].size + x[1].size)

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        x, weight = node.inputs[_X].name, node.inputs[_WEIGHT].name
        bias, past = input_name(node, _BIAS), input_name(node, _PAST)
        settle_contraction(node, ctx, weight, [ctx.axes(weight)[0]], x)
        projected = state_of(ctx, weight, bias)
        with_past = state_of(ctx, weight, bias, past)
        settle_attention(node, ctx, projected, with_past, with_past)

    def role(self, node: gs.Node, slot: int, axis: int, rank: int) -> Role:
        if slot != _WEIGHT:
            return "vector"
        return "producer" if axis else "consumer"

    def repair(self, node: gs.Node, edit: Edit) -> None:
        kept = kept_heads(node, edit)
        query, value = edit.noted(node, QUERY), edit.noted(node, VALUE)
        if kept is None or query is None or value is None:
            return
        node.attrs["num_heads"] = kept[0]
        widths = [int(edit.keep(axis).sum()) for axis in (query, query, value)]
        if widths[0] != widths[2] or "qkv_hidden_sizes" in node.attrs:
            node.attrs["qkv_hidden_sizes"] = widths
        keep_scale(node, edit)

    def macs(self, node: gs.Node, ctx: SizeContext) -> Poly:
        if _refusal(node):
            return Poly.constant(0)
        projections = Poly.product([*ctx.sizes(node.inputs[_X].name), ctx.sizes(node.inputs[_WEIGHT].name)[1]])
        return projections + attention_macs(node, ctx)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        if _refusal(node):
            raise refuse_twin(node, _refusal(node))
        heads = int(node.attrs["num_heads"])
        scale = attribute(node, "scale", 0.0) or None
        count = len(node.outputs)

        def attention(
            x: torch.Tensor,
            weight: torch.Tensor,
            bias: torch.Tensor | None = None,
            mask: torch.Tensor | None = None,
            past: torch.Tensor | None = None,
            added: torch.Tensor | None = None,
            *_: torch.Tensor | None,
        ) -> torch.Tensor | tuple[torch.Tensor, ...]:
            packed = x @ weight if bias is None else x @ weight + bias
            sizes = [int(s) for s in attribute(node, "qkv_hidden_sizes", [weight.shape[1] // 3] * 3)]
            q, k, v = (split_heads(part, heads) for part in torch.split(packed, sizes, -1))
            before = 0 if past is None else past.shape[3]
            if past is not None:
                k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
            scores = scaled_scores(q, k, scale)
            y = merge_heads(attend(scores, v, added_bias(node, scores, before, mask, added))[0])
            return (y, torch.stack([k, v])) if count > 1 else y

        return attention
