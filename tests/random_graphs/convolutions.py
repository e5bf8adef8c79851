"""Steps that convolve or multiply feature maps [N, C, *sizes] by weights, in one to three dimensions."""

from __future__ import annotations

import numpy as np

from random_graphs.builder import Builder, Map

__all__ = ["CONVOLUTIONS", "convolve"]


def convolve(b: Builder, source: Map, out: int, kernel: int = 1, stride: int = 1, group: int = 1) -> str:
    """Adds a convolution that keeps the sizes up to the stride, with a bias now and then."""
    rank = len(source.sizes)
    inputs = [source.name, b.kernel(out, source.channels // group, *[kernel] * rank)]
    if b.chance(0.6):
        inputs.append(b.vector(out))
    return b.add("Conv", *inputs, pads=[kernel // 2] * 2 * rank, strides=[stride] * rank, group=group)


def _conv(b: Builder) -> None:
    source = b.pick()
    out = b.choose(4, 6, 8, 12, 16)
    stride = 2 if min(source.sizes) >= 6 and b.chance(0.2) else 1
    kernel = b.choose(1, 3)
    b.put(convolve(b, source, out, kernel, stride), out, tuple(-(-size // stride) for size in source.sizes))


def _grouped(b: Builder) -> None:
    source = b.pick()
    group = b.choose(*(g for g in (2, 4, source.channels) if source.channels % g == 0))
    out = group * b.choose(1, 2, 3)
    if out <= 48:
        b.put(convolve(b, source, out, 3, 1, group), out, source.sizes)


def _transposed(b: Builder) -> None:
    source = b.pick()
    rank = len(source.sizes)
    if max(source.sizes) > 8:
        return
    group = 2 if source.channels % 2 == 0 and b.chance(0.3) else 1
    out = group * b.choose(2, 4)
    weight = b.kernel(source.channels, out // group, *[2] * rank, fan=source.channels)
    inputs = [source.name, weight] + ([b.vector(out)] if b.chance(0.6) else [])
    result = b.add("ConvTranspose", *inputs, strides=[2] * rank, group=group)
    b.put(result, out, tuple(2 * size for size in source.sizes))


def _shared(b: Builder) -> None:
    """One weight read by two convolutions."""
    source = b.pick()
    weight = b.kernel(source.channels, source.channels, *[1] * len(source.sizes))
    first = b.add("Relu", b.add("Conv", source.name, weight))
    b.put(first, source.channels, source.sizes)
    b.put(b.add("Conv", first, weight), source.channels, source.sizes)


def _einsum(b: Builder) -> None:
    source = b.pick()
    out = b.choose(4, 6, 8)
    weight = b.kernel(out, source.channels)
    letters = "xyz"[: len(source.sizes)]
    b.put(b.add("Einsum", source.name, weight, equation=f"nc{letters},dc->nd{letters}"), out, source.sizes)


def _linear_map(b: Builder) -> None:
    """A 1x1 convolution as the channels-last MatMul, one weight also read transposed."""
    source = b.pick()
    rank = len(source.sizes)
    last = b.add("Transpose", source.name, perm=[0, *range(2, rank + 2), 1])
    hidden = b.choose(4, 6, 10)
    weight = b.kernel(source.channels, hidden, fan=source.channels)
    inner = b.add("Gelu" if b.opset >= 20 else "Tanh", b.add("MatMul", last, weight))
    back = b.add("Transpose", weight, perm=[1, 0]) if b.chance(0.4) else b.kernel(hidden, source.channels, fan=hidden)
    outer = b.add("Add", b.add("MatMul", inner, back), last) if b.chance(0.5) else b.add("MatMul", inner, back)
    b.put(b.add("Transpose", outer, perm=[0, rank + 1, *range(1, rank + 1)]), source.channels, source.sizes)


def _quantized(b: Builder) -> None:
    """A weight of eight bits with a scale per output channel; rounding at run time would not be continuous."""
    source = b.pick()
    out = b.choose(4, 8)
    values = b.rng.integers(-127, 128, (out, source.channels, *[1] * len(source.sizes))).astype(np.int8)
    scales = b.constant((b.rng.uniform(0.5, 1.5, out) / (64 * np.sqrt(source.channels))).astype(np.float32))
    zeros = b.constant(np.zeros(out, dtype=np.int8))
    weight = b.add("DequantizeLinear", b.constant(values), scales, zeros, axis=0)
    b.put(b.add("Conv", source.name, weight), out, source.sizes)


CONVOLUTIONS = {
    "conv": _conv, "grouped": _grouped, "transposed": _transposed, "shared": _shared, "einsum": _einsum,
    "linear map": _linear_map, "quantized": _quantized,
}  # fmt: skip
