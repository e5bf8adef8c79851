"""Steps on feature maps [N, C, *sizes] that join, cut, gate, pool and resize them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from random_graphs.builder import Builder, Map
from random_graphs.convolutions import convolve

__all__ = ["MAPS"]

ACTIVATIONS = (
    "Relu", "Sigmoid", "Tanh", "LeakyRelu", "HardSwish", "HardSigmoid", "Softplus", "Elu", "Selu", "Celu", "Erf",
    "Mish", "Softsign", "Abs", "Neg", "Sin", "Cos", "Atan", "Identity",
)  # fmt: skip
LARGEST = np.iinfo(np.int64).max


def _activation(b: Builder) -> None:
    source = b.pick()
    kind = int(b.rng.integers(10))
    if kind == 0:
        result = b.add("PRelu", source.name, b.vector(source.channels, *[1] * len(source.sizes)))
    elif kind == 1:
        result = b.add("Clip", source.name, b.scalar(-0.5), b.scalar(2.0))
    elif kind == 2:
        result = b.add("Exp", b.add("Tanh", source.name))
    elif kind == 3:
        result = b.add("Log", b.add("Add", b.add("Softplus", source.name), b.scalar(0.5)))
    elif kind == 4:
        result = b.add("Sqrt", b.add("Abs", source.name))
    elif kind == 5:
        result = b.add("Pow", b.add("Tanh", source.name), b.scalar(2.0))
    else:
        result = b.add(ACTIVATIONS[int(b.rng.integers(len(ACTIVATIONS)))], source.name)
    b.put(result, source.channels, source.sizes)


def _residual(b: Builder) -> None:
    one, other = b.pick(), b.pick()
    if one.sizes != other.sizes or b.chance(0.3):
        other = replace(one, name=convolve(b, one, one.channels, 3))
    elif one.channels != other.channels:
        other = replace(one, name=convolve(b, other, one.channels))
    op = ("Add", "Add", "Mul", "Sub", "Max", "Min", "Mean", "Sum")[int(b.rng.integers(8))]
    b.put(b.add(op, one.name, other.name), one.channels, one.sizes)


def _concat(b: Builder) -> None:
    first = b.pick()
    others = [item for item in b.items if item.sizes == first.sizes]
    picks = [first] + [others[int(b.rng.integers(len(others)))] for _ in range(b.choose(1, 2))]
    channels = sum(p.channels for p in picks)
    if channels <= 48:
        b.put(b.add("Concat", *(p.name for p in picks), axis=b.choose(1, -1 - len(first.sizes))), channels, first.sizes)


def _split(b: Builder) -> None:
    source = b.pick()
    if source.channels < 4:
        return
    cut = int(b.rng.integers(1, source.channels))
    parts = b.add_many("Split", source.name, b.integers(cut, source.channels - cut), outputs=2, axis=1)
    b.put(parts[0], cut, source.sizes)
    b.put(parts[1], source.channels - cut, source.sizes)


def _slice(b: Builder) -> None:
    source = b.pick()
    if source.channels % 2 or source.channels < 4:
        return
    start, step = (b.choose(0, 1), 2) if b.chance(0.3) else (source.channels // 2, 1)
    cut = [b.integers(v) for v in (start, LARGEST, 1, step)]
    b.put(b.add("Slice", source.name, *cut), source.channels // 2, source.sizes)


def _positions(b: Builder) -> None:
    """Gather of constant positions, with repeats now and then."""
    source = b.pick()
    count = b.choose(4, 6, 8)
    if b.chance(0.5):
        positions = np.sort(b.rng.permutation(source.channels)[:count])
    else:
        positions = b.rng.integers(0, source.channels, count)
    if len(positions) > 1:
        result = b.add("Gather", source.name, b.constant(positions.astype(np.int64)), axis=1)
        b.put(result, len(positions), source.sizes)


def _shuffle(b: Builder) -> None:
    source = b.pick()
    if source.channels % 2:
        return
    rank = len(source.sizes)
    split = [2, source.channels // 2] if b.chance(0.7) else [source.channels // 2, 2]
    shaped = b.add("Reshape", source.name, b.integers(-1, *split, *source.sizes))
    turned = b.add("Transpose", shaped, perm=[0, 2, 1, *range(3, rank + 3)])
    b.put(b.add("Reshape", turned, b.integers(-1, source.channels, *source.sizes)), source.channels, source.sizes)


def _gate(b: Builder) -> None:
    source = b.pick()
    if b.chance(0.5):
        pooled = b.add("GlobalAveragePool" if b.chance(0.7) else "GlobalMaxPool", source.name)
    else:
        pooled = b.statistics(source.name, "ReduceMean", *range(2, 2 + len(source.sizes)))
    ones = (1,) * len(source.sizes)
    squeezed = b.add("Relu", convolve(b, Map(pooled, source.channels, ones), 4))
    gate = b.add("Sigmoid", convolve(b, Map(squeezed, 4, ones), source.channels))
    if b.chance(0.2):
        gate = b.add("Expand", gate, b.integers(1, source.channels, *source.sizes))
    b.put(b.add("Mul", *b.rng.permutation([source.name, gate]).tolist()), source.channels, source.sizes)


def _spatial_mask(b: Builder) -> None:
    source = b.pick()
    if b.chance(0.4):
        found = [b.statistics(source.name, op, 1) for op in ("ReduceMean", "ReduceMax")]
        base = Map(b.add("Concat", *found, axis=1), 2, source.sizes)
    else:
        base = source
    mask = b.add("Sigmoid", convolve(b, base, 1, 3))
    b.put(b.add("Mul", source.name, mask), source.channels, source.sizes)


def _glu(b: Builder) -> None:
    source = b.pick()
    if source.channels % 2 == 0:
        half = source.channels // 2
        parts = b.add_many("Split", source.name, b.integers(half, half), outputs=2, axis=1)
        b.put(b.add("Mul", parts[0], b.add("Sigmoid", parts[1])), half, source.sizes)


def _pool(b: Builder) -> None:
    source = b.pick()
    rank = len(source.sizes)
    op = "MaxPool" if b.chance(0.5) else "AveragePool"
    result = b.add(op, source.name, kernel_shape=[3] * rank, strides=[1] * rank, pads=[1] * 2 * rank)
    b.put(result, source.channels, source.sizes)


def _resize(b: Builder) -> None:
    source = b.pick()
    if max(source.sizes) > 8 or len(source.sizes) > 2:
        return
    empty = b.constant(np.zeros(0, dtype=np.float32))
    mode = "nearest" if b.chance(0.5) else "linear"
    sizes = tuple(2 * s for s in source.sizes)
    if b.chance(0.5):
        scales = b.constant(np.array([1, 1, *[2] * len(sizes)], dtype=np.float32))
        result = b.add("Resize", source.name, empty, scales, mode=mode)
    else:
        head = b.add("Slice", b.add("Shape", source.name), b.integers(0), b.integers(2), b.integers(0))
        target = b.add("Concat", head, b.integers(*sizes), axis=0)
        result = b.add("Resize", source.name, empty, empty, target, mode=mode)
    b.put(result, source.channels, sizes)


def _pad(b: Builder) -> None:
    source = b.pick()
    rank = len(source.sizes)
    if b.chance(0.5):
        before, after = b.choose(0, 1), b.choose(1, 2, 3)
        edges = [0, before, *[0] * rank, 0, after, *[0] * rank]
        b.put(b.add("Pad", source.name, b.integers(*edges)), source.channels + before + after, source.sizes)
    elif max(source.sizes) <= 8 and min(source.sizes) > 1:
        mode = ("constant", "reflect", "edge")[int(b.rng.integers(3))]
        edges = [0, 0, *[1] * rank, 0, 0, *[0] * rank]
        result = b.add("Pad", source.name, b.integers(*edges), mode=mode)
        b.put(result, source.channels, tuple(size + 1 for size in source.sizes))


def _scale(b: Builder) -> None:
    source = b.pick()
    op = ("Add", "Mul", "Div", "Sub")[int(b.rng.integers(4))]
    ones = (1,) * len(source.sizes)
    shapes = ((1, source.channels, *ones), (source.channels, *ones), (1,), (1, 1, *source.sizes))
    factor = b.constant(b.rng.uniform(0.5, 1.5, shapes[int(b.rng.integers(4))]).astype(np.float32))
    operands = (factor, source.name) if op != "Div" and b.chance(0.3) else (source.name, factor)
    b.put(b.add(op, *operands), source.channels, source.sizes)


def _where(b: Builder) -> None:
    """A choice by a constant mask over places or channels, or by sign; nothing jumps where the sign changes."""
    source = b.pick()
    kind = b.choose(0, 1, 2)
    other = b.add("Mul", source.name, b.scalar(0.3))
    if kind == 0:
        mask = b.constant(b.rng.random((1, 1, *source.sizes)) < 0.5)
    elif kind == 1:
        mask = b.constant(b.rng.random((1, source.channels, *[1] * len(source.sizes))) < 0.5)
    else:
        mask = b.add("Greater", source.name, b.scalar(0.0))
    if kind < 2 and b.chance(0.5):
        other = b.scalar(0.5)
    b.put(b.add("Where", mask, source.name, other), source.channels, source.sizes)


def _tile(b: Builder) -> None:
    source = b.pick()
    rank = len(source.sizes)
    if source.channels <= 12 and b.chance(0.6):
        repeated = b.add("Tile", source.name, b.integers(1, 2, *[1] * rank))
        b.put(repeated, 2 * source.channels, source.sizes)
    elif max(source.sizes) <= 6:
        repeated = b.add("Tile", source.name, b.integers(1, 1, *[2] * rank))
        b.put(repeated, source.channels, tuple(2 * size for size in source.sizes))


def _depth_to_space(b: Builder) -> None:
    source = b.pick()
    if len(source.sizes) != 2:
        return
    if b.chance(0.5) and source.channels % 4 == 0 and max(source.sizes) <= 6:
        mode = "CRD" if b.chance(0.5) else "DCR"
        result = b.add("DepthToSpace", source.name, blocksize=2, mode=mode)
        b.put(result, source.channels // 4, tuple(2 * size for size in source.sizes))
    elif source.channels <= 8 and all(size % 2 == 0 for size in source.sizes):
        result = b.add("SpaceToDepth", source.name, blocksize=2)
        b.put(result, source.channels * 4, tuple(size // 2 for size in source.sizes))


def _cumulative(b: Builder) -> None:
    source = b.pick()
    axis = b.constant(np.array(b.choose(1, 2), dtype=np.int64))
    b.put(b.add("CumSum", b.add("Tanh", source.name), axis), source.channels, source.sizes)


def _detour(b: Builder) -> None:
    """Squeeze and Unsqueeze, Cast there and back, Dropout: nothing changes."""
    source = b.pick()
    kind = b.choose(0, 1, 2)
    if kind == 0:
        wide = b.add("Unsqueeze", source.name, b.integers(2))
        result = b.add("Squeeze", wide, b.integers(2))
    elif kind == 1:
        result = b.add("Cast", b.add("Cast", source.name, to=11), to=1)
    else:
        result = b.add("Dropout", source.name)
    b.put(result, source.channels, source.sizes)


def _spatial_attention(b: Builder) -> None:
    source = b.pick()
    if max(source.sizes) > 6:
        return
    flat = [b.reshape(convolve(b, source, width), (0, width, -1)) for width in (6, 6, source.channels)]
    scores = b.add("MatMul", b.add("Transpose", flat[0], perm=[0, 2, 1]), flat[1])
    weights = b.add("Softmax", scores, axis=-1)
    mixed = b.add("MatMul", flat[2], b.add("Transpose", weights, perm=[0, 2, 1]))
    b.put(b.reshape(mixed, (0, source.channels, *source.sizes)), source.channels, source.sizes)


def _second_input(b: Builder) -> None:
    """Another input of the model joins: added after a convolution, or concatenated as it is."""
    source = b.pick()
    name = f"extra{len(b.inputs)}"
    extra = Map(b.input(name, ["N", 3, *source.sizes]), 3, source.sizes)
    if b.chance(0.5):
        b.put(b.add("Add", source.name, convolve(b, extra, source.channels)), source.channels, source.sizes)
    else:
        b.put(b.add("Concat", source.name, extra.name, axis=1), source.channels + 3, source.sizes)


MAPS = {
    "activation": _activation, "residual": _residual, "concat": _concat, "split": _split, "slice": _slice,
    "positions": _positions, "shuffle": _shuffle, "gate": _gate, "spatial mask": _spatial_mask, "glu": _glu,
    "pool": _pool, "resize": _resize, "pad": _pad, "scale": _scale, "where": _where, "tile": _tile,
    "depth to space": _depth_to_space, "cumulative": _cumulative, "detour": _detour,
    "spatial attention": _spatial_attention, "second input": _second_input,
}  # fmt: skip
