"""Attention of the ONNX standard: heads and their channels go exactly, positions stay.

Y = softmax(cap(scale · Q Kᵀ) + mask) V, with past keys and values in front of the new ones. Inputs are
flat [batch, position, heads · channel], with head counts in attributes, or [batch, heads, position, channel].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import Atom, Poly, pin
from onnxprune.ops.attention_heads import (
    Heads,
    all_keys,
    attention_macs,
    equate,
    keep_scale,
    kept_heads,
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
from onnxprune.ops.identity import torch_dtype
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["Attention"]

_QUERY, _KEY, _VALUE, _MASK, _PAST_KEY, _PAST_VALUE, _LENGTHS = range(7)
_POSITIONAL = (("is_causal", 0), ("left_window_size", -1), ("right_window_size", -1))


@register_op
class Attention(OpRule):
    """Scaled dot-product attention; the window attributes came with version 25."""

    names = ("Attention",)
    since = 23

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        q, k, v = (ctx.axes(t.name) for t in node.inputs[:3])
        where, flat = describe(node), len(q) == 3
        heads = self._flat_heads(node, q, k, v) if flat else self._heads(where, q, k, v)
        batch, queries, keys = q[0], q[-2], k[-2]
        equate(where, batch, k[0], v[0])
        equate(where, keys, v[-2])
        if any(attribute(node, name, off) != off for name, off in _POSITIONAL):
            pin(queries, f"{where} goes by the order of queries")
        total = all_keys(node, ctx, (_PAST_KEY, _PAST_VALUE), batch, heads, keys)
        note_heads(node, ctx, heads, total)
        merge_mask(node, _MASK, ctx, [batch, heads.query, queries, total])
        if input_name(node, _LENGTHS):
            equate(where, batch, ctx.axes(input_name(node, _LENGTHS))[0])
        pin_input(node, _LENGTHS, ctx, "reads it as lengths")
        y = [batch, queries, heads.hidden] if flat else [batch, heads.query, queries, heads.value]
        return [
            y,
            [batch, heads.kv, total, heads.key],
            [batch, heads.kv, total, heads.value],
            [batch, heads.query, queries, total],
        ][: len(node.outputs)]

    @staticmethod
    def _flat_heads(node: gs.Node, q: AxisList, k: AxisList, v: AxisList) -> Heads:
        where = describe(node)
        query_heads, kv_heads = int(node.attrs["q_num_heads"]), int(node.attrs["kv_num_heads"])
        heads = Heads.of(query_heads, kv_heads, q[2].size // query_heads, v[2].size // kv_heads)
        equate(where, heads.query_hidden, q[2])
        equate(where, heads.key_hidden, k[2])
        equate(where, heads.value_hidden, v[2])
        return heads

    @staticmethod
    def _heads(where: str, q: AxisList, k: AxisList, v: AxisList) -> Heads:
        heads = Heads(k[1], Atom(q[1].size // k[1].size), k[3], v[3])
        equate(where, heads.query, q[1])
        equate(where, heads.kv, v[1])
        equate(where, heads.key, q[3])
        return heads

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        query = state_of(ctx, node.inputs[_QUERY].name)
        key = state_of(ctx, node.inputs[_KEY].name, input_name(node, _PAST_KEY))
        value = state_of(ctx, node.inputs[_VALUE].name, input_name(node, _PAST_VALUE))
        settle_attention(node, ctx, query, key, value)

    def repair(self, node: gs.Node, edit: Edit) -> None:
        kept = kept_heads(node, edit)
        for name, count in zip(("q_num_heads", "kv_num_heads"), kept or (), strict=False):
            if name in node.attrs:
                node.attrs[name] = count
        keep_scale(node, edit)

    def macs(self, node: gs.Node, ctx: SizeContext) -> Poly:
        return attention_macs(node, ctx)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        return _Twin(node)


class _Twin:
    """The PyTorch counterpart of one node."""

    def __init__(self, node: gs.Node) -> None:
        self._query_heads, self._kv_heads = (int(attribute(node, n, 0)) for n in ("q_num_heads", "kv_num_heads"))
        self._scale: float | None = attribute(node, "scale")
        self._softcap = float(attribute(node, "softcap", 0.0))
        self._mode = int(attribute(node, "qk_matmul_output_mode", 0))
        self._precision: int | None = attribute(node, "softmax_precision")
        self._left = int(attribute(node, "left_window_size", -1))
        self._right = 0 if attribute(node, "is_causal", 0) else int(attribute(node, "right_window_size", -1))
        self._count = len(node.outputs)

    def __call__(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        mask: torch.Tensor | None = None,
        past_key: torch.Tensor | None = None,
        past_value: torch.Tensor | None = None,
        lengths: torch.Tensor | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, ...]:
        import torch

        flat = q.dim() == 3
        if flat:
            q, k, v = split_heads(q, self._query_heads), split_heads(k, self._kv_heads), split_heads(v, self._kv_heads)
        offset: int | torch.Tensor = 0
        if past_key is not None and past_value is not None:
            offset = past_key.shape[2]
            k, v = torch.cat([past_key, k], 2), torch.cat([past_value, v], 2)
        elif lengths is not None:
            offset = lengths.reshape(-1) - q.shape[2]
        raw = scaled_scores(q, k, self._scale)
        scores = self._softcap * torch.tanh(raw / self._softcap) if self._softcap > 0 else raw
        y, biased, weights = self._attend(scores, v, self._bias(scores, mask, offset, lengths))
        y = merge_heads(y) if flat else y
        shown = (raw, scores, biased, weights)[self._mode]
        return (y, k, v, shown)[: self._count] if self._count > 1 else y

    def _attend(
        self, scores: torch.Tensor, value: torch.Tensor, bias: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        if self._precision is None:
            return attend(scores, value, bias)
        kind = torch_dtype(self._precision)
        y, biased, weights = attend(scores.to(kind), value.to(kind), None if bias is None else bias.to(kind))
        return y.to(value.dtype), biased.to(value.dtype), weights.to(value.dtype)

    def _bias(
        self, scores: torch.Tensor, mask: torch.Tensor | None, offset: int | torch.Tensor, lengths: torch.Tensor | None
    ) -> torch.Tensor | None:
        import torch
        import torch.nn.functional as F

        terms = []
        if mask is not None:
            if mask.dtype == torch.bool:
                mask = torch.zeros_like(mask, dtype=scores.dtype).masked_fill(~mask, -torch.inf)
            terms.append(F.pad(mask, (0, scores.shape[-1] - mask.shape[-1]), value=-torch.inf))
        if self._left >= 0 or self._right >= 0:
            terms.append(window_bias(scores, offset, self._left, self._right))
        if lengths is not None:
            unseen = torch.arange(scores.shape[-1], device=scores.device) >= lengths.reshape(-1, 1, 1, 1)
            terms.append(torch.zeros_like(unseen, dtype=scores.dtype).masked_fill(unseen, -torch.inf))
        return sum(terms[1:], terms[0]) if terms else None
