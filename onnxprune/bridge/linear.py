"""The layers of a graph that are linear in a constant weight, and what may be changed in them.

Such a layer computes y = x ∗ W + b: Conv and ConvTranspose of any group count, Gemm, and
MatMul with a constant matrix on either side. Its bias may sit in an Add behind it. Where its
result is then added to a tensor that is known before the layer runs (a residual branch), the
sum is known too.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_graphsurgeon as gs

from onnxprune.graph import Model
from onnxprune.graph.edit import subgraph_reads
from onnxprune.graph.values import is_float
from onnxprune.ops.base import attribute, describe, input_name

__all__ = ["LinearLayer", "find_layers"]

_FUSED = ("FusedConv", "FusedGemm", "FusedMatMul")


@dataclass(frozen=True)
class LinearLayer:
    """A layer y = x ∗ W + b.

    Attributes:
        node: The node with the weight; not to be edited.
        x: Tensor that it reads.
        weight: Initializer W.
        slot: Input slot of the weight.
        bias: Initializer b, or "" where there is none.
        bias_scale: b counts this many times (β of Gemm).
        own_bias: Whether b has one value per output channel and no other reader, so that it may change.
        output: Tensor that the node computes.
        plain: Tensor that holds y: `output`, or that of the Add that brings b.
        total: Tensor that holds y + `residual`; `plain` where there is no residual.
        residual: Tensor that is added to y and is there before the layer runs, or "".
    """

    node: gs.Node = field(repr=False)
    x: str
    weight: str
    slot: int
    bias: str
    bias_scale: float
    own_bias: bool
    output: str
    plain: str
    total: str
    residual: str = ""

    @property
    def label(self) -> str:
        """The node's name, or its output's where it has none."""
        return str(self.node.name or self.output)

    @property
    def group(self) -> int:
        """The number of groups of channels that do not mix."""
        return int(attribute(self.node, "group", 1)) if self.node.op in ("Conv", "ConvTranspose") else 1

    @property
    def channel_axis(self) -> int:
        """The axis of y along which the output channels lie."""
        if self.node.op == "MatMul":
            return -1 if self.slot == 1 else -2
        return 1


class _Graph:
    """Who reads what, in which order."""

    def __init__(self, model: Model) -> None:
        self.known = model.initializers()
        self.outputs = {spec.name for spec in model.outputs()}
        self.uses = Counter(t.name for node in model.nodes for t in node.inputs if t.name)
        self.uses.update(self.outputs)
        self.uses.update(subgraph_reads(model.graph))
        self.readers: dict[str, gs.Node] = {t.name: node for node in model.nodes for t in node.inputs}
        self.order: dict[str, int] = {t.name: i for i, node in enumerate(model.nodes) for t in node.outputs}

    def add_behind(self, name: str) -> tuple[str, str] | None:
        """The other operand and the result of the one Add that reads `name`, or None."""
        if self.uses[name] != 1 or name in self.outputs or name not in self.readers:
            return None
        node = self.readers[name]
        if node.op != "Add" or node.domain not in (None, "", "ai.onnx"):
            return None
        other = node.inputs[1] if node.inputs[0].name == name else node.inputs[0]
        return str(other.name), str(node.outputs[0].name)


def find_layers(model: Model) -> tuple[list[LinearLayer], dict[str, str]]:
    """Returns the linear layers in graph order, and node label → why others with a weight are none."""
    graph = _Graph(model)
    layers: list[LinearLayer] = []
    skipped: dict[str, str] = {}
    for node in model.nodes:
        if node.op in _FUSED:
            skipped[str(node.name or node.outputs[0].name)] = f"{describe(node)} is fused with what follows"
        if node.op not in ("Conv", "ConvTranspose", "Gemm", "MatMul") or node.domain not in (None, "", "ai.onnx"):
            continue
        slot = 0 if node.op == "MatMul" and node.inputs[0].name in graph.known else 1
        reason = _obstacle(node, slot, graph)
        if reason is None:
            layers.append(_with_sums(_layer(node, slot, graph), graph))
        elif reason:
            skipped[str(node.name or node.outputs[0].name)] = reason
    return layers, skipped


def _obstacle(node: gs.Node, slot: int, graph: _Graph) -> str | None:
    """Why a node is no layer to work on; "" where it has no weight at all, None where it is one."""
    name = node.inputs[slot].name
    if name not in graph.known:
        return "" if node.op == "MatMul" else f"{describe(node)} computes its weight at run time"
    weight = graph.known[name]
    if not is_float(np.dtype(weight.dtype)):
        return f"{describe(node)} has a quantised weight"
    if graph.uses[name] > 1:
        return f"{describe(node)} shares its weight '{name}' with another reader"
    if input_name(node, 2) and input_name(node, 2) not in graph.known:
        return f"{describe(node)} computes its bias at run time"
    if node.op == "Gemm" and input_name(node, 2) and not _goes_by_columns(graph.known[input_name(node, 2)]):
        return f"{describe(node)} adds a bias that differs from row to row"
    if node.op == "MatMul" and len(weight.shape) != 2:
        return f"{describe(node)} has a weight of {len(weight.shape)} axes"
    if node.op == "Gemm" and (attribute(node, "transA", 0) or attribute(node, "alpha", 1.0) == 0):
        return f"{describe(node)} reads its input transposed, or multiplies it by zero"
    if node.op == "ConvTranspose" and (
        attribute(node, "output_shape") is not None
        or str(attribute(node, "auto_pad", "NOTSET")) in ("SAME_UPPER", "SAME_LOWER")
    ):
        return f"{describe(node)} takes its padding from the size of its output"
    return None


def _layer(node: gs.Node, slot: int, graph: _Graph) -> LinearLayer:
    output, bias = str(node.outputs[0].name), input_name(node, 2)
    scale = float(attribute(node, "beta", 1.0)) if node.op == "Gemm" and bias else 1.0
    layer = LinearLayer(
        node, node.inputs[1 - slot].name, node.inputs[slot].name, slot, bias, scale, False, output, output, output
    )
    own = bool(bias) and scale != 0 and graph.uses[bias] == 1 and _runs_over(graph, bias, _channels(layer), -1)
    return replace(layer, own_bias=own)


def _channels(layer: LinearLayer) -> int:
    shape = [int(n) for n in layer.node.inputs[layer.slot].shape]
    if layer.node.op == "Conv":
        return shape[0]
    if layer.node.op == "ConvTranspose":
        return shape[1] * layer.group
    if layer.node.op == "Gemm":
        return shape[0 if attribute(layer.node, "transB", 0) else 1]
    return shape[layer.slot]


def _runs_over(graph: _Graph, name: str, channels: int, axis: int) -> bool:
    """Whether an initializer has one value per channel, along `axis` counted from the end."""
    constant = graph.known[name]
    shape = [int(n) for n in constant.shape]
    whole = len(shape) >= -axis and shape[axis] == channels and int(np.prod(shape)) == channels
    return whole and is_float(np.dtype(constant.dtype))


def _goes_by_columns(bias: gs.Constant) -> bool:
    """Whether the C of a Gemm is one number, or one row for all samples."""
    shape = [int(n) for n in bias.shape]
    return all(n == 1 for n in shape[:-1])


def _with_sums(layer: LinearLayer, graph: _Graph) -> LinearLayer:
    """The layer with the bias and the residual that Adds behind it bring."""
    behind = graph.add_behind(layer.plain)
    if behind is not None and not layer.bias and behind[0] in graph.known:
        other, result = behind
        rank = len(layer.node.inputs[1].shape) if layer.node.op in ("Conv", "ConvTranspose") else 2
        axis = layer.channel_axis if layer.node.op == "MatMul" else 1 - rank
        if not _runs_over(graph, other, _channels(layer), axis):
            return layer
        own = graph.uses[other] == 1
        layer = replace(layer, bias=other, own_bias=own, plain=result, total=result)
        behind = graph.add_behind(result)
    if behind is None or behind[0] in graph.known or behind[0] == layer.plain:
        return layer
    other, result = behind
    if graph.order.get(other, -1) < graph.order[layer.output]:
        return replace(layer, total=result, residual=other)
    return layer
