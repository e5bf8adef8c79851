"""Transformers in the idioms that exporters write them in, as small models.

Every model is tokens -> table -> blocks of attention and MLP -> head, with 4 heads of 6 channels, 2 of them
key-value heads where heads are shared, 20 hidden units and a residual width of 32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HEADS, KV, HEAD, UNITS, WIDTH, LENGTH, WORDS = 4, 2, 6, 20, 32, 7, 11


class Net:
    """A graph that is written node by node."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []

    def data(self, name: str, shape: list[int | str], kind: int = TensorProto.FLOAT) -> str:
        """Adds an input."""
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def const(self, value: Any, name: str = "") -> str:
        """Adds an initializer of a value."""
        name = name or f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weight(self, *shape: int, name: str = "") -> str:
        """Adds a random initializer."""
        drawn = self.rng.uniform(-1, 1, shape) * np.sqrt(3 / shape[0])
        return self.const(drawn.astype(np.float32), name or f"w{len(self.weights)}")

    def vector(self, size: int) -> str:
        """Adds a random initializer of one axis, away from zero."""
        return self.const(self.rng.uniform(0.3, 1.3, size).astype(np.float32))

    def __call__(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Adds a node; returns the name or names of its outputs."""
        name = f"{op.lower()}_{len(self.nodes)}"
        names = [name] if outputs == 1 else [f"{name}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=name, **attributes))
        return names[0] if outputs == 1 else names

    def linear(self, x: str, inputs: int, outputs: int) -> str:
        """x W + b."""
        return self("Add", self("MatMul", x, self.weight(inputs, outputs)), self.vector(outputs))

    def reshape(self, x: str, *shape: int) -> str:
        return self("Reshape", x, self.const(shape))

    def heads(self, x: str, count: int = HEADS) -> str:
        """[batch, heads, position, channel] of a flat projection."""
        return self("Transpose", self.reshape(x, 0, -1, count, HEAD), perm=[0, 2, 1, 3])

    def project(self, x: str, count: int = HEADS) -> str:
        """A projection to `count` heads."""
        return self.heads(self.linear(x, WIDTH, count * HEAD), count)

    def norm(self, x: str) -> str:
        return self("LayerNormalization", x, self.vector(WIDTH), self.vector(WIDTH))

    def model(self, *outputs: tuple[str, list[int | str]]) -> onnx.ModelProto:
        infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs]
        graph = helper.make_graph(self.nodes, "g", self.inputs, infos, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        onnx.checker.check_model(model)
        return model


Attention = Callable[[Net, str], str]


def weigh(
    net: Net, q: str, k: str, v: str, *, bias: Callable[[str], str] | None = None, scale: float | None = None
) -> str:
    """softmax(scale q kᵀ + bias) v, flat again and projected to the width."""
    scores = net("MatMul", q, net("Transpose", k, perm=[0, 1, 3, 2]))
    factor = HEAD**-0.5 if scale is None else scale
    scores = scores if factor == 1 else net("Mul", scores, net.const(np.float32(factor)))
    scores = scores if bias is None else bias(scores)
    mixed = net("MatMul", net("Softmax", scores, axis=-1), v)
    flat = net.reshape(net("Transpose", mixed, perm=[0, 2, 1, 3]), 0, -1, HEADS * HEAD)
    return net.linear(flat, HEADS * HEAD, WIDTH)


def separate(net: Net, x: str) -> str:
    return weigh(net, net.project(x), net.project(x), net.project(x))


def packed_split(net: Net, x: str) -> str:
    q, k, v = net("Split", net.linear(x, WIDTH, 3 * HEADS * HEAD), outputs=3, axis=-1, num_outputs=3)
    return weigh(net, net.heads(q), net.heads(k), net.heads(v))


def packed_slice(net: Net, x: str) -> str:
    size, packed = HEADS * HEAD, net.linear(x, WIDTH, 3 * HEADS * HEAD)
    axis = net.const([2])
    parts = [net("Slice", packed, net.const([i * size]), net.const([(i + 1) * size]), axis) for i in range(3)]
    return weigh(net, *(net.heads(part) for part in parts))


def packed_gather(net: Net, x: str) -> str:
    packed = net.reshape(net.linear(x, WIDTH, 3 * HEADS * HEAD), 0, -1, 3, HEADS, HEAD)
    stacked = net("Transpose", packed, perm=[2, 0, 3, 1, 4])
    return weigh(net, *(net("Gather", stacked, net.const(i), axis=0) for i in range(3)))


def packed_per_head(net: Net, x: str) -> str:
    packed = net.reshape(net.linear(x, WIDTH, 3 * HEADS * HEAD), 0, -1, HEADS, 3 * HEAD)
    parts = net("Split", net("Transpose", packed, perm=[0, 2, 1, 3]), outputs=3, axis=-1, num_outputs=3)
    return weigh(net, *parts)


def scaled_before(net: Net, x: str) -> str:
    factor = net.const(np.float32(HEAD**-0.25))
    q, k = (net("Mul", net.project(x), factor) for _ in range(2))
    return weigh(net, q, k, net.project(x), scale=1)


def scaled_by_division(net: Net, x: str) -> str:
    q = net("Div", net.project(x), net.const(np.float32(HEAD**0.5)))
    return weigh(net, q, net.project(x), net.project(x), scale=1)


def scaled_by_shape(net: Net, x: str) -> str:
    q = net.project(x)
    size = net("Cast", net("Gather", net("Shape", q), net.const(-1)), to=TensorProto.FLOAT)
    q = net("Div", q, net("Sqrt", size))
    return weigh(net, q, net.project(x), net.project(x), scale=1)


def _angles() -> np.ndarray:
    return np.arange(LENGTH)[:, None] * np.array([1.0, 0.3, 0.1])


def _rotate_half(net: Net, x: str, cos: str, sin: str) -> str:
    half, end, axis = net.const([HEAD // 2]), net.const([2**62]), net.const([3])
    low, high = net("Slice", x, net.const([0]), half, axis), net("Slice", x, half, end, axis)
    turned = net("Concat", net("Neg", high), low, axis=-1)
    return net("Add", net("Mul", x, cos), net("Mul", turned, sin))


def rotary_tables(net: Net, x: str) -> str:
    angles = np.concatenate([_angles()] * 2, axis=1)[None, None]
    cos, sin = (net.const(f(angles).astype(np.float32)) for f in (np.cos, np.sin))
    q, k = (_rotate_half(net, net.project(x), cos, sin) for _ in range(2))
    return weigh(net, q, k, net.project(x))


def rotary_computed(net: Net, x: str) -> str:
    length = net("Gather", net("Shape", x), net.const(1))
    places = net("Cast", net("Range", net.const(0), length, net.const(1)), to=TensorProto.FLOAT)
    slow = net.const(np.array([[1.0, 0.3, 0.1]], dtype=np.float32))
    angles = net("Mul", net("Unsqueeze", places, net.const([1])), slow)
    angles = net("Concat", angles, angles, axis=-1)
    q, k = (_rotate_half(net, net.project(x), net("Cos", angles), net("Sin", angles)) for _ in range(2))
    return weigh(net, q, k, net.project(x))


def rotary_interleaved(net: Net, x: str) -> str:
    cos, sin = (net.const(f(_angles()).astype(np.float32)) for f in (np.cos, np.sin))

    def turn(q: str) -> str:
        end, axis, two, last = net.const([2**62]), net.const([3]), net.const([2]), net.const([4])
        a, b = (net("Slice", q, net.const([i]), end, axis, two) for i in range(2))
        real = net("Sub", net("Mul", a, cos), net("Mul", b, sin))
        imaginary = net("Add", net("Mul", a, sin), net("Mul", b, cos))
        pairs = net("Concat", net("Unsqueeze", real, last), net("Unsqueeze", imaginary, last), axis=-1)
        return net.reshape(pairs, 0, HEADS, -1, HEAD)

    return weigh(net, turn(net.project(x)), turn(net.project(x)), net.project(x))


def grouped_expand(net: Net, x: str) -> str:
    def repeat(k: str) -> str:
        shape = net.const([1, 1, HEADS // KV, 1, 1])
        wide = net("Expand", net("Unsqueeze", k, net.const([2])), shape)
        return net.reshape(wide, 0, HEADS, -1, HEAD)

    return weigh(net, net.project(x), repeat(net.project(x, KV)), repeat(net.project(x, KV)))


def grouped_expand_by_shape(net: Net, x: str) -> str:
    def repeat(k: str) -> str:
        sizes = [net("Slice", net("Shape", k), net.const([i]), net.const([i + 1])) for i in range(4)]
        shape = net("Concat", sizes[0], sizes[1], net.const([HEADS // KV]), sizes[2], sizes[3], axis=0)
        wide = net("Expand", net("Unsqueeze", k, net.const([2])), shape)
        heads = net("Mul", sizes[1], net.const([HEADS // KV]))
        return net("Reshape", wide, net("Concat", sizes[0], heads, sizes[2], sizes[3], axis=0))

    return weigh(net, net.project(x), repeat(net.project(x, KV)), repeat(net.project(x, KV)))


def grouped_broadcast(net: Net, x: str) -> str:
    def apart(k: str) -> str:
        return net("Unsqueeze", k, net.const([2]))

    q = net.reshape(net.project(x), 0, KV, HEADS // KV, -1, HEAD)
    k, v = apart(net.project(x, KV)), apart(net.project(x, KV))
    scores = net("MatMul", q, net("Transpose", k, perm=[0, 1, 2, 4, 3]))
    mixed = net("MatMul", net("Softmax", scores, axis=-1), v)
    flat = net.reshape(net("Transpose", mixed, perm=[0, 3, 1, 2, 4]), 0, -1, HEADS * HEAD)
    return net.linear(flat, HEADS * HEAD, WIDTH)


def multi_query(net: Net, x: str) -> str:
    return weigh(net, net.project(x), net.project(x, 1), net.project(x, 1))


def masked_where(net: Net, x: str) -> str:
    seen = net.const(np.tril(np.ones((1, 1, LENGTH, LENGTH), dtype=bool)))
    low = net.const(np.float32(-1e9))
    q, k, v = (net.project(x) for _ in range(3))
    return weigh(net, q, k, v, bias=lambda scores: net("Where", seen, scores, low))


def masked_trilu(net: Net, x: str) -> str:
    length = net("Slice", net("Shape", x), net.const([1]), net.const([2]))
    low = helper.make_tensor("v", TensorProto.FLOAT, [1], [-1e9])
    full = net("ConstantOfShape", net("Concat", length, length, axis=0), value=low)
    mask = net("Trilu", full, net.const(1), upper=1)
    q, k, v = (net.project(x) for _ in range(3))
    return weigh(net, q, k, v, bias=lambda scores: net("Add", scores, mask))


def relative_bias(net: Net, x: str) -> str:
    buckets = net.const(np.abs(np.arange(LENGTH)[:, None] - np.arange(LENGTH)))
    table = net("Gather", net.weight(LENGTH, HEADS, name="relative"), buckets)
    added = net("Unsqueeze", net("Transpose", table, perm=[2, 0, 1]), net.const([0]))
    q, k, v = (net.project(x) for _ in range(3))
    return weigh(net, q, k, v, bias=lambda scores: net("Add", scores, added))


def transposed_batch(net: Net, x: str) -> str:
    """torch.nn.MultiheadAttention: positions first, heads folded into the batch."""
    rows = net("Transpose", x, perm=[1, 0, 2])

    def project() -> str:
        flat = net.reshape(net.linear(rows, WIDTH, HEADS * HEAD), LENGTH, -1, HEAD)
        return net("Transpose", flat, perm=[1, 0, 2])

    q, k, v = (project() for _ in range(3))
    scores = net("MatMul", q, net("Transpose", k, perm=[0, 2, 1]))
    mixed = net("Transpose", net("MatMul", net("Softmax", scores, axis=-1), v), perm=[1, 0, 2])
    flat = net.reshape(mixed, LENGTH, -1, HEADS * HEAD)
    return net("Transpose", net.linear(flat, HEADS * HEAD, WIDTH), perm=[1, 0, 2])


def relu_mlp(net: Net, x: str) -> str:
    return net.linear(net("Relu", net.linear(x, WIDTH, UNITS)), UNITS, WIDTH)


def gelu_mlp(net: Net, x: str) -> str:
    a = net.linear(x, WIDTH, UNITS)
    grown = net("Add", net("Erf", net("Div", a, net.const(np.float32(2**0.5)))), net.const(np.float32(1)))
    return net.linear(net("Mul", net("Mul", a, grown), net.const(np.float32(0.5))), UNITS, WIDTH)


def gated_mlp(net: Net, x: str) -> str:
    gate, up = net.linear(x, WIDTH, UNITS), net.linear(x, WIDTH, UNITS)
    return net.linear(net("Mul", net("Mul", gate, net("Sigmoid", gate)), up), UNITS, WIDTH)


def packed_gated_mlp(net: Net, x: str) -> str:
    gate, up = net("Split", net.linear(x, WIDTH, 2 * UNITS), outputs=2, axis=-1, num_outputs=2)
    return net.linear(net("Mul", net("Mul", gate, net("Sigmoid", gate)), up), UNITS, WIDTH)


def embed(net: Net, table: str = "") -> str:
    """Rows of a table at the tokens."""
    tokens = net.data("tokens", ["N", LENGTH], TensorProto.INT64)
    return net("Gather", table or net.weight(WORDS, WIDTH, name="words"), tokens)


def block(net: Net, x: str, attention: Attention = separate, mlp: Attention = relu_mlp) -> str:
    """A block that normalises first."""
    x = net("Add", x, attention(net, net.norm(x)))
    return net("Add", x, mlp(net, net.norm(x)))


def language_model(attention: Attention = separate, mlp: Attention = relu_mlp) -> onnx.ModelProto:
    net = Net()
    x = block(net, embed(net), attention, mlp)
    return net.model((net.linear(net.norm(x), WIDTH, 5), ["N", LENGTH, 5]))


PLAIN = [HEADS, HEAD, HEAD]
GROUPED = [KV, HEADS // KV, HEAD, HEAD]
ATTENTIONS: dict[Attention, list[int]] = {
    separate: PLAIN,
    packed_split: PLAIN,
    packed_slice: PLAIN,
    packed_gather: [HEADS, HEAD],  # one tensor holds all three, so heads of values have the keys' size
    packed_per_head: PLAIN,
    scaled_before: PLAIN,
    scaled_by_division: PLAIN,
    scaled_by_shape: PLAIN,
    rotary_tables: [HEADS, HEAD // 2, HEAD],
    rotary_computed: [HEADS, HEAD // 2, HEAD],
    rotary_interleaved: [HEADS, HEAD // 2, HEAD],
    grouped_expand: GROUPED,
    grouped_expand_by_shape: GROUPED,
    grouped_broadcast: GROUPED,
    multi_query: PLAIN,
    masked_where: PLAIN,
    masked_trilu: PLAIN,
    relative_bias: PLAIN,
    transposed_batch: PLAIN,
}
