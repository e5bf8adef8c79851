"""Multiply-accumulates of fused attention, from shapes.

With batch B, query positions S, key positions T (past ones included), heads H, and widths d of
keys and e of values of one head, scores and weighted means take B·H·S·T·(d + e). The operator
Attention of onnxruntime also projects its input, x [B, S, C] by w [C, …].

Rare forms, such as queries, keys and values packed in one tensor, are not counted.
"""

from __future__ import annotations

import math

import onnx_graphsurgeon as gs

__all__ = ["attention", "contrib_attention", "group_query_attention", "multi_head_attention"]

Shape = tuple[int, ...]


def _slot(inputs: list[Shape | None], slot: int) -> Shape | None:
    return inputs[slot] if slot < len(inputs) else None


def _pairs(batch: int, queries: int, keys: int, query_width: int, value_width: int) -> int:
    """Widths are those of all heads together: H·d and H·e."""
    return batch * queries * keys * (query_width + value_width)


def _width(shape: Shape) -> int:
    """Returns the width of all heads of a tensor [B, S, H·d] or [B, H, S, d]."""
    return shape[-1] if len(shape) == 3 else shape[1] * shape[3]


def _past(inputs: list[Shape | None], slot: int) -> int:
    past = _slot(inputs, slot)
    return past[-2] if past is not None else 0


def attention(node: gs.Node, inputs: list[Shape | None], output: Shape) -> int:
    """Attention of the standard: q, k, v, mask, past key, past value."""
    q, k = _slot(inputs, 0), _slot(inputs, 1)
    if q is None or k is None:
        return 0
    return _pairs(q[0], q[-2], k[-2] + _past(inputs, 4), _width(q), _width(output))


def multi_head_attention(node: gs.Node, inputs: list[Shape | None], output: Shape) -> int:
    """MultiHeadAttention of onnxruntime: q, k, v, bias, mask, added, past key, past value."""
    q, k, v = (_slot(inputs, slot) for slot in range(3))
    apart = k is not None and len(k) == 4 and (_slot(inputs, 3) is not None or _slot(inputs, 6) is not None)
    shared = any(_slot(inputs, slot) is not None for slot in (8, 9))
    if q is None or k is None or v is None or len(k) != len(v) or len(q) != 3 or apart or shared:
        return 0
    return _pairs(q[0], q[1], k[-2] + _past(inputs, 6), q[2], output[2])


def group_query_attention(node: gs.Node, inputs: list[Shape | None], output: Shape) -> int:
    """GroupQueryAttention of onnxruntime; keys may fill a buffer that is longer than they are."""
    q = _slot(inputs, 0)
    if q is None or any(_slot(inputs, slot) is not None for slot in (12, 13, 14, 15)):
        return 0
    return _pairs(q[0], q[1], q[1] + _past(inputs, 3), output[2], output[2])


def contrib_attention(node: gs.Node, inputs: list[Shape | None], output: Shape) -> int:
    """Attention of onnxruntime: x, weight, bias, mask, past [2, B, H, P, d]."""
    x, weight = _slot(inputs, 0), _slot(inputs, 1)
    if x is None or weight is None or node.attrs.get("do_rotary", 0) or node.attrs.get("past_present_share_buffer", 0):
        return 0
    sizes = node.attrs.get("qkv_hidden_sizes") or [weight[1] // 3] * 3
    pairs = _pairs(x[0], x[1], x[1] + _past(inputs, 4), int(sizes[0]), output[2])
    return math.prod(x) * weight[1] + pairs
