"""Whole nets for the benchmark of block-sparse operators: random weights, the forms that the export knows.

ResNet-18 (He et al., 2016) as exporters write it: batch normalisation folded, 224×224 images, a bias and a Relu behind
each convolution, 1×1 shortcuts where strides are two. Its 3×3 layers of stride one, 13 of them, are cut into tiles that
keep the same share of input channels; the others are dense.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from onnxprune.core.tiling import Form, TiledLayer
from onnxprune.kernels.rewrite import write_forms

__all__ = ["Net", "resnet18"]

_STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
_BLOCKS = 2
_CLASSES = 1000


@dataclass(frozen=True)
class Net:
    """A net with tiled layers, zeros in its dense weights.

    Attributes:
        name: What it is called.
        dense: The model.
        layers: Its tiled layers.
        image: Shape of its input "x".
    """

    name: str
    dense: onnx.ModelProto
    layers: tuple[TiledLayer, ...]
    image: tuple[int, int, int, int]

    def written(self, form: Form) -> onnx.ModelProto:
        """Returns the model with all tiled layers in one form."""
        return write_forms(self.dense, [(layer, form) for layer in self.layers])


@dataclass
class _Builder:
    """Nodes and weights in the making."""

    rng: np.random.Generator
    block: tuple[int, int]
    sparsity: float
    nodes: list[NodeProto] = field(default_factory=list)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    layers: list[TiledLayer] = field(default_factory=list)

    def conv(self, x: str, inputs: int, outputs: int, size: int, stride: int, *, relu: bool = True) -> str:
        """Returns the output of a convolution; one of 3×3 and stride one is cut into tiles."""
        name = f"conv_{len([node for node in self.nodes if node.op_type == 'Conv'])}"
        weight = self.rng.standard_normal((outputs, inputs, size, size)) * np.sqrt(2 / (inputs * size * size))
        if size == 3 and stride == 1:
            layer = self._tiled(name, inputs, outputs)
            weight = np.where(layer.weight_mask(), weight / np.sqrt(1 - self.sparsity), 0.0)
            self.layers.append(layer)
        self.weights[f"{name}_w"] = weight.astype(np.float32)
        self.weights[f"{name}_b"] = (self.rng.standard_normal(outputs) / 10).astype(np.float32)
        pads, end = [size // 2] * 4, f"{name}_r" if relu else f"{name}_y"
        inner = f"{name}_y"
        window = {"kernel_shape": [size, size], "pads": pads, "strides": [stride, stride]}
        self.nodes.append(helper.make_node("Conv", [x, f"{name}_w", f"{name}_b"], [inner], name, **window))
        if relu:
            self.nodes.append(helper.make_node("Relu", [inner], [end], f"{name}_relu"))
        return end

    def _tiled(self, name: str, inputs: int, outputs: int) -> TiledLayer:
        block, tile = self.block
        blocks = inputs // block
        count = max(1, round(blocks * (1 - self.sparsity)))
        kept = tuple(
            tuple(int(i) for i in np.sort(self.rng.permutation(blocks)[:count])) for _ in range(outputs // tile)
        )
        return TiledLayer(name, f"{name}_w", "Conv", 1, inputs, outputs, block, tile, kept)


def resnet18(block: tuple[int, int], sparsity: float, *, size: int = 224, seed: int = 0) -> Net:
    """Returns ResNet-18 with random weights.

    Args:
        block: Inputs and outputs of a block.
        sparsity: Share of the inputs that each tile gives up.
        size: Rows and columns of the image.
        seed: Of weights and of what tiles keep.
    """
    make = _Builder(np.random.default_rng(seed), block, sparsity)
    x = make.conv("x", 3, 64, 7, 2)
    make.nodes.append(
        helper.make_node("MaxPool", [x], ["pooled"], "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    )
    x, inputs = "pooled", 64
    for outputs, stride in _STAGES:
        for number in range(_BLOCKS):
            step = stride if number == 0 else 1
            shortcut = x if step == 1 and inputs == outputs else make.conv(x, inputs, outputs, 1, step, relu=False)
            inner = make.conv(x, inputs, outputs, 3, step)
            inner = make.conv(inner, outputs, outputs, 3, 1, relu=False)
            total, x = f"{inner}_sum", f"{inner}_out"
            make.nodes.append(helper.make_node("Add", [inner, shortcut], [total], f"{inner}_add"))
            make.nodes.append(helper.make_node("Relu", [total], [x], f"{inner}_end"))
            inputs = outputs
    make.weights["fc_w"] = (make.rng.standard_normal((inputs, _CLASSES)) / np.sqrt(inputs)).astype(np.float32)
    make.weights["fc_b"] = np.zeros(_CLASSES, np.float32)
    make.nodes += [
        helper.make_node("GlobalAveragePool", [x], ["mean"], "mean"),
        helper.make_node("Flatten", ["mean"], ["features"], "flatten"),
        helper.make_node("Gemm", ["features", "fc_w", "fc_b"], ["y"], "fc"),
    ]
    image = (1, 3, size, size)
    graph = helper.make_graph(
        make.nodes,
        "resnet18",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, _CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in make.weights.items()],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    return Net("resnet18", model, tuple(make.layers), image)
