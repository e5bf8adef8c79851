"""Steps on sequences [N, T, C]: linear layers, normalisations, cuts and joins, recurrence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from random_graphs.builder import Builder, Signal

__all__ = ["SEQUENCES", "linear", "normalise"]

ACTIVATIONS = ("Relu", "Tanh", "Sigmoid", "Erf", "Softplus", "Elu", "HardSwish")


def linear(b: Builder, source: Signal, out: int) -> str:
    """Adds x·W (+ b): as MatMul and Add, as Gemm between reshapes, or as Einsum."""
    kind = b.choose(0, 0, 0, 1, 2)
    if kind == 1:
        flat = b.add("Reshape", source.name, b.integers(-1, source.channels))
        inputs = [flat, b.kernel(out, source.channels), b.vector(out)]
        result = b.add("Gemm", *inputs, transB=1)
        length = b.size(source.name, 1) if source.length is None else b.integers(source.length)
        return b.add("Reshape", result, b.add("Concat", b.integers(-1), length, b.integers(out), axis=0))
    weight = b.kernel(source.channels, out, fan=source.channels)
    if kind == 2:
        return b.add("Einsum", source.name, weight, equation="ntc,cd->ntd")
    result = b.add("MatMul", source.name, weight)
    return b.add("Add", *b.rng.permutation([result, b.vector(out)]).tolist()) if b.chance(0.6) else result


def normalise(b: Builder, source: Signal) -> str:
    """Adds LayerNorm or RMSNorm over the last axis: as a node or written out."""
    scale, shift = b.vector(source.channels), b.vector(source.channels)
    kind = b.choose(0, 1, 2, 3)
    if kind == 0:
        return b.add("LayerNormalization", source.name, scale, shift, axis=-1)
    if kind == 1 and b.opset >= 23:
        return b.add("RMSNormalization", source.name, scale, axis=-1)
    if kind == 2:
        centred = b.add("Sub", source.name, b.statistics(source.name, "ReduceMean", -1))
        power = b.add("Mul", centred, centred)
    else:
        centred, power = source.name, b.add("Pow", source.name, b.scalar(2.0))
    spread = b.add("Sqrt", b.add("Add", b.statistics(power, "ReduceMean", -1), b.scalar(1e-2)))
    return b.add("Add", b.add("Mul", b.add("Div", centred, spread), scale), shift)


def _linear(b: Builder) -> None:
    source = b.pick()
    out = b.choose(6, 8, 12)
    b.put(linear(b, source, out), out, source.length)


def _activation(b: Builder) -> None:
    source = b.pick()
    b.put(b.add(ACTIVATIONS[int(b.rng.integers(len(ACTIVATIONS)))], source.name), source.channels, source.length)


def _norm(b: Builder) -> None:
    source = b.pick()
    b.put(normalise(b, source), source.channels, source.length)


def _feed_forward(b: Builder) -> None:
    """Linear, activation, linear; gated by a second half now and then; a residual around it."""
    source = b.pick()
    inner = Signal(normalise(b, source), source.channels, source.length) if b.chance(0.4) else source
    hidden = b.choose(8, 12)
    if b.chance(0.4):
        both = linear(b, inner, 2 * hidden)
        gate, value = b.add_many("Split", both, b.integers(hidden, hidden), outputs=2, axis=-1)
        middle = b.add("Mul", b.add("Mul", gate, b.add("Sigmoid", gate)), value)
    else:
        middle = b.add("Relu" if b.chance(0.5) else "Tanh", linear(b, inner, hidden))
    result = linear(b, Signal(middle, hidden, source.length), source.channels)
    b.put(b.add("Add", source.name, result), source.channels, source.length)


def _residual(b: Builder) -> None:
    one, other = b.pick(), b.pick()
    if one.length != other.length:
        other = one
    name = other.name if one.channels == other.channels and b.chance(0.5) else linear(b, other, one.channels)
    b.put(b.add(("Add", "Mul", "Max")[b.choose(0, 1, 2)], one.name, name), one.channels, one.length)


def _concat(b: Builder) -> None:
    one, other = b.pick(), b.pick()
    if one.length == other.length and one.channels + other.channels <= 32:
        b.put(b.add("Concat", one.name, other.name, axis=-1), one.channels + other.channels, one.length)


def _split(b: Builder) -> None:
    source = b.pick()
    if source.channels >= 4:
        cut = b.choose(2, source.channels // 2)
        parts = b.add_many("Split", source.name, b.integers(cut, source.channels - cut), outputs=2, axis=2)
        b.put(parts[0], cut, source.length)
        b.put(parts[1], source.channels - cut, source.length)


def _scale(b: Builder) -> None:
    source = b.pick()
    length = source.length or 1
    shapes = ((source.channels,), (1, 1, source.channels), (1, length, 1), (1, length, source.channels))
    factor = b.constant(b.rng.uniform(0.5, 1.5, shapes[b.choose(0, 1, 2, 3)]).astype(np.float32))
    b.put(b.add("Mul" if b.chance(0.5) else "Add", factor, source.name), source.channels, source.length)


def _table(b: Builder) -> None:
    """Position embeddings: rows of a table, looked up or cut to the length and added."""
    source = b.pick()
    table = b.kernel(32, source.channels, fan=3)
    if source.length is None or b.old:
        zero, one = b.integers(0), b.integers(0)
        rows = b.add("Slice", table, zero, b.size(source.name, 1), one)
    else:
        rows = b.add("Gather", table, b.integers(*range(source.length)), axis=0)
    b.put(b.add("Add", source.name, rows), source.channels, source.length)


def _class_token(b: Builder) -> None:
    source = b.pick()
    if source.length is None:
        return
    batch = b.size(source.name, 0)
    shape = b.add("Concat", batch, b.integers(1, source.channels), axis=0)
    token = b.add("Expand", b.kernel(1, 1, source.channels, fan=3), shape)
    b.put(b.add("Concat", token, source.name, axis=1), source.channels, source.length + 1)


def _convolution(b: Builder) -> None:
    source = b.pick()
    turned = b.add("Transpose", source.name, perm=[0, 2, 1])
    out = b.choose(source.channels, 8)
    group = source.channels if out == source.channels and b.chance(0.5) else 1
    mixed = b.add("Conv", turned, b.kernel(out, source.channels // group, 3), b.vector(out), pads=[1, 1], group=group)
    b.put(b.add("Transpose", mixed, perm=[0, 2, 1]), out, source.length)


def _recurrent(b: Builder) -> None:
    source = b.pick()
    op, gates = (("LSTM", 4), ("GRU", 3), ("RNN", 1))[b.choose(0, 1, 2)]
    hidden, both = b.choose(4, 6), b.chance(0.4)
    ways = 2 if both else 1
    turned = b.add("Transpose", source.name, perm=[1, 0, 2])
    weights = [b.kernel(ways, gates * hidden, width, fan=width) for width in (source.channels, hidden)]
    inputs = [turned, *weights] + ([b.vector(ways, 2 * gates * hidden)] if b.chance(0.6) else [])
    options: dict[str, Any] = {"linear_before_reset": 1} if op == "GRU" and b.chance(0.5) else {}
    direction = "bidirectional" if both else "forward"
    result = b.add(op, *inputs, hidden_size=hidden, direction=direction, **options)
    if both:
        merged = b.reshape(b.add("Transpose", result, perm=[0, 2, 1, 3]), (0, 0, 2 * hidden))
    else:
        merged = b.add("Squeeze", result, b.integers(1))
    b.put(b.add("Transpose", merged, perm=[1, 0, 2]), ways * hidden, source.length)


def _softmax(b: Builder) -> None:
    source = b.pick()
    op = ("Softmax", "LogSoftmax")[b.choose(0, 1)]
    b.put(b.add(op, source.name, axis=b.choose(-1, 1)), source.channels, source.length)


def _second_input(b: Builder) -> None:
    source = b.pick()
    name = f"extra{len(b.inputs)}"
    length = "T" if source.length is None else source.length
    extra = replace(source, name=b.input(name, ["N", length, 5]), channels=5)
    b.put(b.add("Add", linear(b, extra, source.channels), source.name), source.channels, source.length)


SEQUENCES = {
    "linear": _linear, "activation": _activation, "norm": _norm, "feed forward": _feed_forward,
    "residual": _residual, "concat": _concat, "split": _split, "scale": _scale, "table": _table,
    "class token": _class_token, "convolution": _convolution, "recurrent": _recurrent, "softmax": _softmax,
    "second input": _second_input,
}  # fmt: skip
