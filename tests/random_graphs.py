"""Random convolutional graphs with dynamic batch, for property tests.

Every graph is decided by its seed alone: `random_model(17)` is the same model everywhere.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["random_model"]

ACTIVATIONS = ("Relu", "Sigmoid", "Tanh", "LeakyRelu", "HardSwish", "Softplus", "Elu", "Exp")


class _Builder:
    """Grows a graph from NCHW feature maps; `maps` holds (name, channels, size)."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.maps: list[tuple[str, int, int]] = []
        self.count = 0

    def weight(self, *shape: int) -> str:
        fan = max(1, int(np.prod(shape[1:])))
        low, high = (-1.0, 1.0) if len(shape) > 1 else (0.3, 1.3)
        scale = np.sqrt(3 / fan) if len(shape) > 1 else 1.0
        return self.constant((self.rng.uniform(low, high, shape) * scale).astype(np.float32))

    def constant(self, value: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, dtype=np.int64))

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        self.count += 1
        names = [f"t{self.count}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=f"{op.lower()}_{self.count}", **attributes))
        return names[0]

    def pick(self) -> tuple[str, int, int]:
        return self.maps[int(self.rng.integers(max(0, len(self.maps) - 4), len(self.maps)))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def conv(self, source: tuple[str, int, int], out: int, kernel: int = 1, stride: int = 1, group: int = 1) -> str:
        name, channels, _ = source
        inputs = [name, self.weight(out, channels // group, kernel, kernel)]
        if self.chance(0.6):
            inputs.append(self.weight(out))
        pads = [kernel // 2] * 4
        return self.add("Conv", *inputs, pads=pads, strides=[stride, stride], group=group)

    def put(self, name: str, channels: int, size: int) -> None:
        self.maps.append((name, channels, size))


def _conv(b: _Builder) -> None:
    source = b.pick()
    out = int(b.rng.choice([4, 6, 8, 12, 16]))
    stride = 2 if source[2] >= 8 and b.chance(0.2) else 1
    kernel = int(b.rng.choice([1, 3]))
    b.put(b.conv(source, out, kernel, stride), out, source[2] // stride)


def _grouped(b: _Builder) -> None:
    name, channels, size = b.pick()
    groups = [g for g in (2, 4, channels) if channels % g == 0]
    group = int(b.rng.choice(groups))
    out = group * int(b.rng.choice([1, 2, 3]))
    b.put(b.conv((name, channels, size), out, 3, 1, group), out, size)


def _activation(b: _Builder) -> None:
    name, channels, size = b.pick()
    if b.chance(0.15):
        b.put(b.add("PRelu", name, b.weight(channels, 1, 1)), channels, size)
    elif b.chance(0.15):
        low, high = b.constant(np.float32(-0.5)), b.constant(np.float32(2.0))
        b.put(b.add("Clip", name, low, high), channels, size)
    else:
        op = str(b.rng.choice(ACTIVATIONS))
        bounded = b.add("Tanh", name) if op == "Exp" else name
        b.put(b.add(op, bounded), channels, size)


def _norm(b: _Builder) -> None:
    name, channels, size = b.pick()
    vectors = [b.weight(channels) for _ in range(4)]
    b.put(b.add("BatchNormalization", name, *vectors), channels, size)


def _residual(b: _Builder) -> None:
    a, c = b.pick(), b.pick()
    if a[2] != c[2] or b.chance(0.3):
        c = (b.conv(a, a[1], 3), a[1], a[2])
    elif a[1] != c[1]:
        c = (b.conv(c, a[1], 1), a[1], a[2])
    b.put(b.add(str(b.rng.choice(["Add", "Mul", "Sub", "Max"])), a[0], c[0]), a[1], a[2])


def _concat(b: _Builder) -> None:
    first = b.pick()
    others = [m for m in b.maps if m[2] == first[2]]
    picks = [first] + [others[int(b.rng.integers(len(others)))] for _ in range(int(b.rng.integers(1, 3)))]
    if sum(p[1] for p in picks) <= 48:
        b.put(b.add("Concat", *(p[0] for p in picks), axis=1), sum(p[1] for p in picks), first[2])


def _split(b: _Builder) -> None:
    name, channels, size = b.pick()
    if channels >= 4:
        cut = int(b.rng.integers(1, channels))
        first = b.add("Split", name, b.integers(cut, channels - cut), outputs=2, axis=1)
        b.put(first, cut, size)
        b.put(first.replace("_0", "_1"), channels - cut, size)


def _slice(b: _Builder) -> None:
    name, channels, size = b.pick()
    if channels % 2 == 0 and channels >= 4:
        start, step = (int(b.rng.integers(2)), 2) if b.chance(0.3) else (channels // 2, 1)
        ends = np.iinfo(np.int64).max
        sliced = b.add("Slice", name, b.integers(start), b.integers(ends), b.integers(1), b.integers(step))
        b.put(sliced, channels // 2, size)


def _shuffle(b: _Builder) -> None:
    name, channels, size = b.pick()
    if channels % 2 == 0:
        shaped = b.add("Reshape", name, b.integers(-1, 2, channels // 2, size, size))
        turned = b.add("Transpose", shaped, perm=[0, 2, 1, 3, 4])
        b.put(b.add("Reshape", turned, b.integers(-1, channels, size, size)), channels, size)


def _gate(b: _Builder) -> None:
    name, channels, size = b.pick()
    pooled = (b.add("GlobalAveragePool", name), channels, 1)
    squeezed = b.add("Relu", b.conv(pooled, 4))
    gate = b.add("Sigmoid", b.conv((squeezed, 4, 1), channels))
    b.put(b.add("Mul", name, gate), channels, size)


def _spatial_mask(b: _Builder) -> None:
    source = b.pick()
    mask = b.add("Sigmoid", b.conv(source, 1, 3))
    b.put(b.add("Mul", source[0], mask), source[1], source[2])


def _pool(b: _Builder) -> None:
    name, channels, size = b.pick()
    op = str(b.rng.choice(["MaxPool", "AveragePool"]))
    b.put(b.add(op, name, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1]), channels, size)


def _transposed(b: _Builder) -> None:
    name, channels, size = b.pick()
    if size <= 8:
        out = int(b.rng.choice([4, 8]))
        weight = b.weight(channels, out, 2, 2)
        b.put(b.add("ConvTranspose", name, weight, b.weight(out), strides=[2, 2]), out, size * 2)


def _resize(b: _Builder) -> None:
    name, channels, size = b.pick()
    if size <= 8:
        empty = b.constant(np.zeros(0, dtype=np.float32))
        scales = b.constant(np.array([1, 1, 2, 2], dtype=np.float32))
        b.put(b.add("Resize", name, empty, scales, mode="nearest"), channels, size * 2)


def _zero_pad(b: _Builder) -> None:
    name, channels, size = b.pick()
    more = int(b.rng.integers(1, 5))
    b.put(b.add("Pad", name, b.integers(0, more, 0, 0, 0, 0, 0, 0)), channels + more, size)


def _scale(b: _Builder) -> None:
    name, channels, size = b.pick()
    op = str(b.rng.choice(["Add", "Mul", "Div"]))
    shape = (1, channels, 1, 1) if b.chance(0.7) else (1,)
    factor = b.constant(b.rng.uniform(0.5, 1.5, shape).astype(np.float32))
    b.put(b.add(op, name, factor), channels, size)


def _spatial_attention(b: _Builder) -> None:
    name, channels, size = b.pick()
    if size > 8:
        return
    flat = [
        b.add("Reshape", b.conv((name, channels, size), width), b.integers(0, width, -1)) for width in (6, 6, channels)
    ]
    scores = b.add("MatMul", b.add("Transpose", flat[0], perm=[0, 2, 1]), flat[1])
    weights = b.add("Softmax", scores, axis=-1)
    mixed = b.add("MatMul", flat[2], b.add("Transpose", weights, perm=[0, 2, 1]))
    b.put(b.add("Reshape", mixed, b.integers(0, channels, size, size)), channels, size)


STEPS: tuple[Callable[[_Builder], None], ...] = (
    _conv, _conv, _conv, _grouped, _activation, _activation, _norm, _residual, _residual, _concat, _split, _slice,
    _shuffle, _gate, _spatial_mask, _pool, _transposed, _resize, _zero_pad, _scale, _spatial_attention,
)  # fmt: skip


def _head(b: _Builder) -> str:
    """A classifier on one map: pooled or flattened."""
    name, channels, size = b.maps[-1]
    if b.chance(0.5):
        pooled = b.add("GlobalAveragePool", name)
        flat, features = b.add("Flatten", pooled), channels
    else:
        flat, features = b.add("Flatten", b.conv((name, channels, size), 4)), 4 * size * size
    hidden = b.add("Tanh", b.add("Gemm", flat, b.weight(10, features), b.weight(10), transB=1))
    return b.add("Gemm", hidden, b.weight(10, 3), b.weight(3))


def random_model(seed: int, steps: int = 14) -> onnx.ModelProto:
    """Returns a random model with dynamic batch.

    Args:
        seed: Decides everything.
        steps: Number of blocks.
    """
    b = _Builder(seed)
    b.put("x", 3, 8)
    b.put(b.conv(("x", 3, 8), 8, 3), 8, 8)
    b.maps.pop(0)
    for _ in range(steps):
        STEPS[int(b.rng.integers(len(STEPS)))](b)
    outputs = [_head(b)]
    if b.chance(0.4):
        outputs.append(b.conv(b.pick(), 2))
    graph = helper.make_graph(
        b.nodes,
        f"random_{seed}",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        b.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    inferred = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(inferred)
    return inferred
