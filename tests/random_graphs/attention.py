"""Attention over sequences [N, T, C] in the forms that exporters write."""

from __future__ import annotations

import numpy as np

from random_graphs.builder import Builder, Signal
from random_graphs.sequences import linear, normalise

__all__ = ["ATTENTION"]


def _heads(b: Builder, name: str, heads: int, width: int) -> str:
    """[N, T, heads·width] → [N, heads, T, width]."""
    return b.add("Transpose", b.reshape(name, (0, 0, heads, width)), perm=[0, 2, 1, 3])


def _mix(b: Builder, query: str, key: str, value: str, width: int) -> str:
    """Softmax(q·kᵀ/√width)·v over [N, heads, T, width], scaled in one of three places."""
    turned = b.add("Transpose", key, perm=[0, 1, 3, 2])
    if b.chance(0.4):
        query = b.add("Mul", query, b.scalar(width**-0.5))
        scores = b.add("MatMul", query, turned)
    elif b.chance(0.5):
        scores = b.add("Div", b.add("MatMul", query, turned), b.scalar(width**0.5))
    else:  # the old exporter computes the scale from the width of a head
        root = b.add("Sqrt", b.add("Cast", b.size(query, 3), to=1))
        scores = b.add("Div", b.add("MatMul", query, turned), root)
    return b.add("MatMul", b.add("Softmax", scores, axis=-1), value)


def _joined(b: Builder, mixed: str, width: int) -> str:
    """[N, heads, T, width] → [N, T, heads·width]."""
    return b.reshape(b.add("Transpose", mixed, perm=[0, 2, 1, 3]), (0, 0, width))


def _finish(b: Builder, source: Signal, mixed: str, width: int) -> None:
    result = linear(b, Signal(mixed, width, source.length), source.channels)
    if b.chance(0.7):
        result = b.add("Add", source.name, result)
    b.put(result, source.channels, source.length)


def _separate(b: Builder) -> None:
    """Three projections; fewer heads of key and value repeated by Expand now and then."""
    source = b.pick()
    inner = Signal(normalise(b, source), source.channels, source.length) if b.chance(0.4) else source
    width = b.choose(2, 4)
    heads, fewer = (4, b.choose(1, 2)) if b.chance(0.4) else (2, 2)
    query = _heads(b, linear(b, inner, heads * width), heads, width)
    key, value = (_heads(b, linear(b, inner, fewer * width), fewer, width) for _ in range(2))
    if fewer != heads:
        key, value = (_repeated(b, part, source.length, fewer, heads // fewer, width) for part in (key, value))
    _finish(b, source, _joined(b, _mix(b, query, key, value, width), heads * width), heads * width)


def _repeated(b: Builder, name: str, length: int | None, heads: int, times: int, width: int) -> str:
    wide = b.add("Unsqueeze", name, b.integers(2))
    size = b.size(name, 2) if length is None else b.integers(length)
    shape = b.add("Concat", b.size(name, 0), b.integers(heads, times), size, b.integers(width), axis=0)
    spread = b.add("Expand", wide, shape)
    return b.reshape(spread, (0, heads * times, -1, width))


def _packed(b: Builder) -> None:
    """One projection for query, key and value, cut by Split or by Gather after a transpose."""
    source = b.pick()
    heads, width = b.choose(2, 3), b.choose(2, 4)
    both = linear(b, source, 3 * heads * width)
    if b.chance(0.5):
        sizes = b.integers(*[heads * width] * 3)
        parts = [_heads(b, p, heads, width) for p in b.add_many("Split", both, sizes, outputs=3, axis=2)]
    else:
        shaped = b.reshape(both, (0, 0, 3, heads, width))
        turned = b.add("Transpose", shaped, perm=[2, 0, 3, 1, 4])
        parts = [b.add("Gather", turned, b.constant(np.array(i, dtype=np.int64)), axis=0) for i in range(3)]
    _finish(b, source, _joined(b, _mix(b, parts[0], parts[1], parts[2], width), heads * width), heads * width)


def _node(b: Builder) -> None:
    """The operator Attention on three inputs of rank 3, with grouped heads now and then."""
    source = b.pick()
    if b.opset < 23:
        return
    width = b.choose(2, 4)
    heads, fewer = (4, 2) if b.chance(0.4) else (2, 2)
    # by MatMul alone: onnxruntime misjudges the width of an Attention that reads a computed Reshape
    weights = [b.kernel(source.channels, count * width, fan=source.channels) for count in (heads, fewer, fewer)]
    parts = [b.add("MatMul", source.name, weight) for weight in weights]
    mixed = b.add("Attention", *parts, q_num_heads=heads, kv_num_heads=fewer)
    _finish(b, source, mixed, heads * width)


def _rotated(b: Builder) -> None:
    """Halves turned by constant angles, as in rotary embeddings."""
    source = b.pick()
    if source.channels % 4 or source.length is None:
        return
    heads, width = 2, source.channels // 2
    query = _heads(b, linear(b, source, heads * width), heads, width)
    key = _heads(b, linear(b, source, heads * width), heads, width)
    angles = b.rng.uniform(0, 3, (source.length, width)).astype(np.float32)
    tables = b.constant(np.cos(angles)), b.constant(np.sin(angles))
    query, key = (_turn(b, part, width, *tables) for part in (query, key))
    value = _heads(b, linear(b, source, heads * width), heads, width)
    _finish(b, source, _joined(b, _mix(b, query, key, value, width), heads * width), heads * width)


def _turn(b: Builder, name: str, width: int, cosine: str, sine: str) -> str:
    half = width // 2
    low = b.add("Slice", name, b.integers(0), b.integers(half), b.integers(3))
    high = b.add("Slice", name, b.integers(half), b.integers(width), b.integers(3))
    other = b.add("Concat", b.add("Neg", high), low, axis=-1)
    return b.add("Add", b.add("Mul", name, cosine), b.add("Mul", other, sine))


ATTENTION = {"separate": _separate, "packed": _packed, "attention node": _node, "rotated": _rotated}
