"""MultiHeadAttention of onnxruntime: attention behind projections that are nodes of their own.

    Y = softmax(scale · (Q + b_q)(K + b_k)ᵀ + masks) (V + b_v)

with one bias [Sum(Prod(h, d), Prod(h, d), Prod(h, e))] for all three. Keys and values may come with
heads apart, [batch, heads, position, channel], when they were projected once for many queries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import Poly, pin, total, unify
from onnxprune.ops.attention_heads import (
    Heads,
    all_keys,
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
from onnxprune.ops.common import pin_input
from onnxprune.ops.contrib_masks import added_bias, refuse_twin
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["MultiHeadAttention"]

_QUERY, _KEY, _VALUE, _BIAS, _MASK, _ADDED, _PAST_KEY, _PAST_VALUE, _PAST_LENGTH, _BEAMS = range(10)
_APART = "adds a bias or past keys to keys whose heads are apart"
_PACKED = "takes queries, keys and values packed in one tensor"


def _refusal(node: gs.Node) -> str:
    """Returns which rare form of the operator a node is, as far as its inputs tell, or ""."""
    if not (input_name(node, _KEY) and input_name(node, _VALUE)):
        return _PACKED
    if input_name(node, _PAST_LENGTH) or input_name(node, _BEAMS):
        return "keeps past keys in a shared buffer"
    return ""


@register_op
class MultiHeadAttention(OpRule):
    """Self- and cross-attention."""

    names = ("MultiHeadAttention",)
    domain = "com.microsoft"

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        refusal = _refusal(node)
        q, k, v = (ctx.axes(input_name(node, slot)) for slot in (_QUERY, _KEY, _VALUE))
        if not refusal and len(k) == 4 and (input_name(node, _BIAS) or input_name(node, _PAST_KEY)):
            refusal = _APART
        if refusal or len(k) != len(v):
            return freeze_attention(node, ctx, refusal or _PACKED)
        where = describe(node)
        heads = self._heads(node, q, k, v)
        batch, queries, keys = q[0], q[1], k[-2]
        equate(where, batch, k[0], v[0])
        equate(where, keys, v[-2])
        if attribute(node, "unidirectional", 0):
            pin(queries, f"{where} goes by the order of queries")
        if len(k) == 4 or input_name(node, _PAST_KEY):
            equate(f"{where} (onnxruntime takes heads that are apart only with one size)", heads.key, heads.value)
        if input_name(node, _BIAS):
            packed = total([heads.query_hidden, heads.key_hidden, heads.value_hidden])
            unify(ctx.axes(input_name(node, _BIAS))[0], packed, where)
        pin_input(node, _MASK, ctx, "reads it as a mask")
        length = all_keys(node, ctx, (_PAST_KEY, _PAST_VALUE), batch, heads, keys)
        note_heads(node, ctx, heads, length)
        scores: AxisList = [batch, heads.kv, queries, length]
        merge_mask(node, _ADDED, ctx, scores)
        present: AxisList = [batch, heads.kv, length]
        return [[batch, queries, heads.hidden], [*present, heads.key], [*present, heads.value], scores][
            : len(node.outputs)
        ]

    @staticmethod
    def _heads(node: gs.Node, q: AxisList, k: AxisList, v: AxisList) -> Heads:
        where, count = describe(node), int(node.attrs["num_heads"])
        width = v[-1].size if len(v) == 4 else v[2].size // count
        heads = Heads.of(count, count, q[2].size // count, width)
        equate(where, heads.query_hidden, q[2])
        for axes, hidden, channels in ((k, heads.key_hidden, heads.key), (v, heads.value_hidden, heads.value)):
            if len(axes) == 3:
                equate(where, hidden, axes[2])
            else:
                equate(where, heads.kv, axes[1])
                equate(where, channels, axes[3])
        return heads

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        bias = input_name(node, _BIAS)
        query = state_of(ctx, node.inputs[_QUERY].name, bias)
        key = state_of(ctx, input_name(node, _KEY), bias, input_name(node, _PAST_KEY))
        value = state_of(ctx, input_name(node, _VALUE), bias, input_name(node, _PAST_VALUE))
        settle_attention(node, ctx, query, key, value)

    def repair(self, node: gs.Node, edit: Edit) -> None:
        kept = kept_heads(node, edit)
        if kept is not None:
            node.attrs["num_heads"] = kept[0]
            keep_scale(node, edit)

    def macs(self, node: gs.Node, ctx: SizeContext) -> Poly:
        return attention_macs(node, ctx)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        if _refusal(node):
            raise refuse_twin(node, _refusal(node))
        heads = int(node.attrs["num_heads"])
        scale = attribute(node, "scale", 0.0) or None
        count = len(node.outputs)

        def multi_head_attention(
            q: torch.Tensor,
            k: torch.Tensor,
            v: torch.Tensor,
            bias: torch.Tensor | None = None,
            mask: torch.Tensor | None = None,
            added: torch.Tensor | None = None,
            past_key: torch.Tensor | None = None,
            past_value: torch.Tensor | None = None,
            *_: torch.Tensor | None,
        ) -> torch.Tensor | tuple[torch.Tensor, ...]:
            if k.dim() == 5:
                raise refuse_twin(node, _PACKED)
            if bias is not None and k.dim() == 4:
                raise refuse_twin(node, _APART)
            if bias is not None:
                to_q, to_k, to_v = torch.split(bias, [q.shape[-1], k.shape[-1], v.shape[-1]])
                q, k, v = q + to_q, k + to_k, v + to_v
            q = split_heads(q, heads)
            if k.dim() == 3:
                k, v = split_heads(k, heads), split_heads(v, heads)
            before = 0 if past_key is None else past_key.shape[2]
            if past_key is not None and past_value is not None:
                k, v = torch.cat([past_key, k], 2), torch.cat([past_value, v], 2)
            scores = scaled_scores(q, k, scale)
            means, _biased, weights = attend(scores, v, added_bias(node, scores, before, mask, added))
            y = merge_heads(means)
            return (y, k, v, weights)[:count] if count > 1 else y

        return multi_head_attention
