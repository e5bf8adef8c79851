"""GroupQueryAttention of onnxruntime: causal attention with a cache, fewer key-value than query heads.

onnxruntime runs it with one size for key and value heads, a multiple of 8, and where it rotates, with
tables of a multiple of 8 columns and heads of a multiple of 16 channels. So channels of a head go in
blocks: 8 in a row without rotation, 8 pairs in a row with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import Atom, Axis, Poly, pin, product, split, total, unify
from onnxprune.ops.attention_heads import (
    Heads,
    attention_macs,
    equate,
    freeze_attention,
    keep_scale,
    kept_heads,
    match_past,
    merge_mask,
    note_heads,
    settle_attention,
    state_of,
)
from onnxprune.ops.attention_torch import attend, merge_heads, scaled_scores, split_heads, window_bias
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
from onnxprune.ops.contrib_masks import refuse_twin
from onnxprune.ops.registry import register_op
from onnxprune.ops.rotary_embedding import pair_up, rotate

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["GroupQueryAttention"]

_QUERY, _KEY, _VALUE, _PAST_KEY, _PAST_VALUE, _LENGTHS, _TOTAL, _COS, _SIN, _PLACES, _ADDED, _SINK = range(12)
_SCALES, _NORMS = (12, 13), (14, 15)
BLOCK = 8


def _refusal(node: gs.Node) -> str:
    """Returns which rare form of the operator a node is, or ""."""
    if any(input_name(node, slot) for slot in _SCALES):
        return "keeps keys and values quantised"
    if any(input_name(node, slot) for slot in _NORMS):
        return "normalises the channels of each head"
    return ""


def _blocks(size: int, step: int, where: str) -> Axis:
    """Returns an axis that is dropped in blocks of `step` channels in a row."""
    reason = f"{where}: onnxruntime runs it only where heads have a multiple of {step} such channels"
    return Atom(size, reason) if size % step else product(Atom(size // step), Atom(step, reason))


@register_op
class GroupQueryAttention(OpRule):
    """Attention with a key-value cache; queries, keys and values apart or packed in one tensor."""

    names = ("GroupQueryAttention",)
    domain = "com.microsoft"

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        if _refusal(node):
            return freeze_attention(node, ctx, _refusal(node))
        q, where = ctx.axes(node.inputs[_QUERY].name), describe(node)
        heads = self._heads(node, ctx, q[2].size)
        self._match_inputs(node, ctx, q, heads)
        lengths = ctx.axes(input_name(node, _LENGTHS))
        if lengths:
            equate(where, q[0], lengths[0])
        for slot in (_LENGTHS, _TOTAL, _PLACES):
            pin_input(node, slot, ctx, "reads it as lengths or positions")
        pin(q[1], f"{where} goes by the order of queries")
        length = self._with_past(node, ctx, q, heads)
        note_heads(node, ctx, heads, length)
        scores: AxisList = [q[0], heads.query, q[1], length]
        merge_mask(node, _ADDED, ctx, scores)
        if input_name(node, _SINK):
            unify(heads.query, ctx.axes(input_name(node, _SINK))[0], where)
        cache: AxisList = [q[0], heads.kv, length, heads.key]
        return [[q[0], q[1], heads.hidden], cache, list(cache), scores][: len(node.outputs)]

    @staticmethod
    def _heads(node: gs.Node, ctx: AxisContext, width: int) -> Heads:
        where = describe(node)
        query_heads, kv_heads = int(node.attrs["num_heads"]), int(node.attrs["kv_num_heads"])
        size = width // (query_heads if input_name(node, _KEY) else query_heads + 2 * kv_heads)
        if not attribute(node, "do_rotary", 0):
            for slot in (_COS, _SIN):
                pin_input(node, slot, ctx, "does not read it")
            channels = _blocks(size, BLOCK, where)
        else:
            tables = [ctx.axes(node.inputs[slot].name) for slot in (_COS, _SIN)]
            for table in tables:
                pin(table[0], f"{where} looks positions up along this axis")
            columns = tables[0][-1].size
            unify(tables[0][-1], _blocks(columns, BLOCK, where), where)
            channels = Atom(size)
            pair_up(node, channels, bool(attribute(node, "rotary_interleaved", 0)), tables)
            still = split(channels, [2 * columns, size - 2 * columns])[1]
            if still is not None:
                unify(still, _blocks(still.size, 2 * BLOCK, where), where)
        return Heads(Atom(kv_heads), Atom(query_heads // kv_heads), channels, channels)

    @staticmethod
    def _match_inputs(node: gs.Node, ctx: AxisContext, q: AxisList, heads: Heads) -> None:
        where = describe(node)
        if not input_name(node, _KEY):
            equate(where, q[2], total([heads.query_hidden, heads.key_hidden, heads.value_hidden]))
            return
        equate(where, heads.query_hidden, q[2])
        for slot in (_KEY, _VALUE):
            axes = ctx.axes(node.inputs[slot].name)
            equate(where, q[0], axes[0])
            equate(where, heads.key_hidden, axes[2])
            pin(axes[1], f"{where} normalises over this axis")

    @staticmethod
    def _with_past(node: gs.Node, ctx: AxisContext, q: AxisList, heads: Heads) -> Axis:
        length = q[1].size + match_past(node, ctx, (_PAST_KEY, _PAST_VALUE), q[0], heads)
        if len(node.outputs) > 1 and node.outputs[1].name:
            length = ctx.shape(node.outputs[1].name)[2]  # a buffer that is longer than what it holds
        return Atom(length)

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        query = node.inputs[_QUERY].name
        key = state_of(ctx, input_name(node, _KEY) or query, input_name(node, _PAST_KEY))
        value = state_of(ctx, input_name(node, _VALUE) or query, input_name(node, _PAST_VALUE))
        settle_attention(node, ctx, state_of(ctx, query), key, value)

    def repair(self, node: gs.Node, edit: Edit) -> None:
        kept = kept_heads(node, edit)
        if kept is not None:
            node.attrs["num_heads"], node.attrs["kv_num_heads"] = kept
            keep_scale(node, edit)

    def macs(self, node: gs.Node, ctx: SizeContext) -> Poly:
        return attention_macs(node, ctx)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        refusal = _refusal(node)
        if attribute(node, "sliding_window_cache", 0):
            refusal = "drops old keys from its cache"
        elif input_name(node, _PAST_KEY) and len(node.outputs) < 3:
            refusal = "takes past keys and gives none out"  # onnxruntime then leaves the past unread
        elif len(node.outputs) > 3:
            refusal = "gives its scores out"
        if refusal:
            raise refuse_twin(node, refusal)
        return _Twin(node)


class _Twin:
    """The PyTorch counterpart of one node."""

    def __init__(self, node: gs.Node) -> None:
        self._heads, self._kv_heads = int(node.attrs["num_heads"]), int(node.attrs["kv_num_heads"])
        self._scale: float | None = attribute(node, "scale", 0.0) or None
        self._softcap = float(attribute(node, "softcap", 0.0))
        self._rotates = bool(attribute(node, "do_rotary", 0))
        self._interleaved = bool(attribute(node, "rotary_interleaved", 0))
        self._causal = bool(attribute(node, "causal", 1))
        self._window = int(attribute(node, "local_window_size", -1))
        self._smooth = bool(attribute(node, "smooth_softmax", 0))
        self._count = len(node.outputs)

    def __call__(
        self,
        query: torch.Tensor,
        key: torch.Tensor | None,
        value: torch.Tensor | None,
        past_key: torch.Tensor | None,
        past_value: torch.Tensor | None,
        lengths: torch.Tensor,
        whole: torch.Tensor,
        cos: torch.Tensor | None = None,
        sin: torch.Tensor | None = None,
        rows: torch.Tensor | None = None,
        added: torch.Tensor | None = None,
        sink: torch.Tensor | None = None,
        *_: torch.Tensor | None,
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        import torch

        q, k, v = self._split(query, key, value)
        seen = lengths.reshape(-1).long() + 1
        start = (seen - q.shape[2]).clamp(min=0)
        places = start[:, None] + torch.arange(q.shape[2], device=q.device)
        if self._rotates and cos is not None and sin is not None:
            rows = places if rows is None else rows.long()
            q, k = (rotate(x, cos[rows].unsqueeze(1), sin[rows].unsqueeze(1), self._interleaved) for x in (q, k))
        used = int(whole.item())
        k, v = _append(past_key, k, places, used), _append(past_value, v, places, used)
        scores = scaled_scores(q, k[:, :, :used], self._scale)
        if self._softcap > 0:
            scores = self._softcap * torch.tanh(scores / self._softcap)
        bias = self._bias(scores, start, seen, added)
        if self._smooth and sink is None:
            sink = scores.new_zeros(self._heads)
        y = merge_heads(attend(scores, v[:, :, :used], bias, sink)[0])
        return (y, k, v)[: self._count] if self._count > 1 else y

    def _split(
        self, query: torch.Tensor, key: torch.Tensor | None, value: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        import torch

        if key is None or value is None:
            size = query.shape[-1] // (self._heads + 2 * self._kv_heads)
            query, key, value = torch.split(query, [self._heads * size, *[self._kv_heads * size] * 2], -1)
        return (
            split_heads(query, self._heads),
            split_heads(key, self._kv_heads),
            split_heads(value, self._kv_heads),
        )

    def _bias(
        self, scores: torch.Tensor, start: torch.Tensor, seen: torch.Tensor, added: torch.Tensor | None
    ) -> torch.Tensor:
        import torch

        # a window of w keys includes the query's own
        back = self._window - 1 if self._window > 0 else -1
        bias = window_bias(scores, start, back, 0 if self._causal else -1)
        if not self._causal:
            unseen = torch.arange(scores.shape[-1], device=scores.device) >= seen.reshape(-1, 1, 1, 1)
            bias = bias.masked_fill(unseen, -torch.inf)
        return bias if added is None else bias + added[..., : scores.shape[-1]]


def _append(past: torch.Tensor | None, new: torch.Tensor, places: torch.Tensor, whole: int) -> torch.Tensor:
    """Returns the cache with new keys written at `places`, [batch, heads, position, channel]."""
    length = whole if past is None else max(whole, past.shape[2])
    cache = new.new_zeros((*new.shape[:2], length, new.shape[3]))
    if past is not None:
        cache[:, :, : past.shape[2]] = past
    return cache.scatter(2, places[:, None, :, None].expand_as(new), new)
