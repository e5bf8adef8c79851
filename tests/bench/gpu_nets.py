"""Nets of known sizes with random weights, written node by node: ResNet-50, MobileNetV2, ViT and BERT.

He et al., 2016; Sandler et al., 2018; Dosovitskiy et al., 2021 (ViT-S/16); Devlin et al., 2019 (base). As exporters
write them: batch normalisation folded into convolutions, attention as MatMul and Softmax, a batch that stays open.
`tiny` gives the same structure small enough for a test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["NETS", "make_net"]

_CLASSES = 1000


@dataclass
class _Builder:
    """Nodes and weights in the making; every method returns the name of its output."""

    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)

    def node(self, op: str, *inputs: str, **attributes: object) -> str:
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [f"{name}_y"], name, **attributes))
        return f"{name}_y"

    def constant(self, values: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def random(self, *shape: int, fan: int) -> str:
        return self.constant((self.rng.standard_normal(shape) / np.sqrt(fan)).astype(np.float32))

    def shape(self, *sizes: int) -> str:
        return self.constant(np.array(sizes, np.int64))

    def conv(self, x: str, inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> str:
        fan = inputs // groups * size * size
        weight = self.random(outputs, inputs // groups, size, size, fan=max(1, fan // 2))
        bias = self.random(outputs, fan=100)
        window = {"kernel_shape": [size, size], "pads": [size // 2] * 4, "strides": [stride, stride]}
        return self.node("Conv", x, weight, bias, group=groups, **window)

    def linear(self, x: str, inputs: int, outputs: int) -> str:
        product = self.node("MatMul", x, self.random(inputs, outputs, fan=inputs))
        return self.node("Add", product, self.random(outputs, fan=100))

    def norm(self, x: str, width: int) -> str:
        scale = self.constant(self.rng.uniform(0.8, 1.2, width).astype(np.float32))
        return self.node("LayerNormalization", x, scale, self.random(width, fan=100), axis=-1)

    def gelu(self, x: str) -> str:
        inner = self.node("Erf", self.node("Div", x, self.constant(np.array(np.sqrt(2.0), np.float32))))
        raised = self.node("Add", inner, self.constant(np.array(1.0, np.float32)))
        return self.node("Mul", self.node("Mul", x, raised), self.constant(np.array(0.5, np.float32)))

    def attention(self, x: str, width: int, heads: int, tokens: int) -> str:
        def split(order: Sequence[int]) -> str:
            parts = self.node("Reshape", self.linear(x, width, width), self.shape(0, tokens, heads, width // heads))
            return self.node("Transpose", parts, perm=list(order))

        query, key, value = split((0, 2, 1, 3)), split((0, 2, 3, 1)), split((0, 2, 1, 3))
        scale = self.constant(np.array((width / heads) ** -0.5, np.float32))
        scores = self.node("Softmax", self.node("Mul", self.node("MatMul", query, key), scale), axis=-1)
        mixed = self.node("Transpose", self.node("MatMul", scores, value), perm=[0, 2, 1, 3])
        return self.linear(self.node("Reshape", mixed, self.shape(0, tokens, width)), width, width)

    def feed_forward(self, x: str, width: int) -> str:
        return self.linear(self.gelu(self.linear(x, width, 4 * width)), 4 * width, width)

    def classes(self, x: str, inputs: int) -> str:
        features = self.node("Flatten", self.node("GlobalAveragePool", x))
        return self.node("Gemm", features, self.random(inputs, _CLASSES, fan=inputs), self.random(_CLASSES, fan=100))

    def model(self, name: str, given: onnx.ValueInfoProto, output: str, shape: Sequence[int | str]) -> onnx.ModelProto:
        self.nodes.append(helper.make_node("Identity", [output], ["y"], "end"))
        result = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
        graph = helper.make_graph(self.nodes, name, [given], [result], self.weights)
        return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def _image(size: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, size, size])


def _resnet50(make: _Builder, *, tiny: bool) -> onnx.ModelProto:
    size, depths, base = (32, (1, 1), 16) if tiny else (224, (3, 4, 6, 3), 64)
    x = make.node("Relu", make.conv("x", 3, base, 7, 2))
    x = make.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    inputs = base
    for stage, depth in enumerate(depths):
        inner = base * 2**stage
        for block in range(depth):
            stride = 2 if stage and not block else 1
            shortcut = x if block else make.conv(x, inputs, 4 * inner, 1, stride)
            y = make.node("Relu", make.conv(x, inputs, inner, 1))
            y = make.node("Relu", make.conv(y, inner, inner, 3, stride))
            x = make.node("Relu", make.node("Add", make.conv(y, inner, 4 * inner, 1), shortcut))
            inputs = 4 * inner
    return make.model("resnet50", _image(size), make.classes(x, inputs), ["N", _CLASSES])


def _mobilenetv2(make: _Builder, *, tiny: bool) -> onnx.ModelProto:
    size, last = (32, 64) if tiny else (224, 1280)
    stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))

    def clipped(x: str) -> str:
        bounds = (make.constant(np.array(bound, np.float32)) for bound in (0.0, 6.0))
        return make.node("Clip", x, *bounds)

    x, inputs = clipped(make.conv("x", 3, 32, 3, 2)), 32
    for expand, outputs, depth, first in stages[:3] if tiny else stages:
        for block in range(depth):
            stride, wide = first if not block else 1, expand * inputs
            y = x if expand == 1 else clipped(make.conv(x, inputs, wide, 1))
            y = make.conv(clipped(make.conv(y, wide, wide, 3, stride, wide)), wide, outputs, 1)
            x = make.node("Add", x, y) if stride == 1 and inputs == outputs else y
            inputs = outputs
    x = clipped(make.conv(x, inputs, last, 1))
    return make.model("mobilenetv2", _image(size), make.classes(x, last), ["N", _CLASSES])


def _vit(make: _Builder, *, tiny: bool) -> onnx.ModelProto:
    size, patch, width, depth, heads = (32, 8, 64, 2, 4) if tiny else (224, 16, 384, 12, 6)
    tokens = (size // patch) ** 2
    window = {"kernel_shape": [patch, patch], "strides": [patch, patch]}
    bias = make.random(width, fan=100)
    x = make.node("Conv", "x", make.random(width, 3, patch, patch, fan=3 * patch * patch), bias, **window)
    x = make.node("Transpose", make.node("Reshape", x, make.shape(0, width, tokens)), perm=[0, 2, 1])
    x = make.node("Add", x, make.random(1, tokens, width, fan=100))
    for _ in range(depth):
        x = make.node("Add", x, make.attention(make.norm(x, width), width, heads, tokens))
        x = make.node("Add", x, make.feed_forward(make.norm(x, width), width))
    x = make.node("ReduceMean", make.norm(x, width), axes=[1], keepdims=0)
    return make.model("vit", _image(size), make.linear(x, width, _CLASSES), ["N", _CLASSES])


def _bert(make: _Builder, *, tiny: bool) -> onnx.ModelProto:
    words, tokens, width, depth, heads = (100, 16, 64, 2, 4) if tiny else (30522, 128, 768, 12, 12)
    x = make.node("Gather", make.random(words, width, fan=1), "ids", axis=0)
    x = make.norm(make.node("Add", x, make.random(1, tokens, width, fan=100)), width)
    for _ in range(depth):
        x = make.norm(make.node("Add", x, make.attention(x, width, heads, tokens)), width)
        x = make.norm(make.node("Add", x, make.feed_forward(x, width)), width)
    x = make.node("ReduceMean", x, axes=[1], keepdims=0)
    given = helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", tokens])
    return make.model("bert", given, make.linear(x, width, 2), ["N", 2])


_MAKERS: dict[str, Callable[..., onnx.ModelProto]] = {
    "resnet50": _resnet50,
    "mobilenetv2": _mobilenetv2,
    "vit": _vit,
    "bert": _bert,
}
NETS = tuple(_MAKERS)


def make_net(name: str, *, tiny: bool = False, seed: int = 0) -> onnx.ModelProto:
    """Returns a net with random weights; input "x" float32 [N, 3, size, size], or "ids" int64 [N, tokens] of bert.

    Args:
        name: One of `NETS`.
        tiny: Whether its structure is wanted small.
        seed: Of the weights.
    """
    return _MAKERS[name](_Builder(np.random.default_rng(seed)), tiny=tiny)
