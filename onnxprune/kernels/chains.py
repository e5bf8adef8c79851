"""What one block-sparse operator replaces: a layer's node, and what only follows it.

That is the Add of a bias that is a constant, and an activation that the operators know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

from onnxprune.core.tiling import TiledLayer
from onnxprune.kernels.activation import ACTIVATIONS, Activation, ActivationName
from onnxprune.kernels.body import CAST_LIKE

__all__ = ["Chain", "below", "constant_vector", "find_chain", "find_node", "opset_of"]

_PLAIN: Mapping[str, ActivationName] = {"Relu": "Relu", "Sigmoid": "Sigmoid", "Tanh": "Tanh", "HardSwish": "HardSwish"}
_DEFAULTS: Mapping[str, Mapping[str, float]] = {
    "LeakyRelu": {"alpha": 0.01},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
}
_OUTERMOST = 3e38
_NUMBERED = ("Clip", "Gelu", "GeluTanh")
"""Activations whose bodies hold numbers, which older opsets cannot put in another type than float32."""


@dataclass(frozen=True)
class Chain:
    """A layer's node and what becomes part of its operator.

    Attributes:
        node: The layer's.
        add: The Add of the bias, where there is one.
        bias: [N], or None.
        last: The node of the activation, where there is one.
        activation: What it applies.
    """

    node: NodeProto
    add: NodeProto | None
    bias: NDArray[Any] | None
    last: NodeProto | None
    activation: Activation

    @property
    def nodes(self) -> tuple[NodeProto, ...]:
        """All nodes, the layer's first."""
        return tuple(node for node in (self.node, self.add, self.last) if node is not None)

    @property
    def output(self) -> str:
        """Name of what the last of them gives."""
        return str(self.nodes[-1].output[0])


def find_chain(model: onnx.ModelProto, layer: TiledLayer) -> Chain:
    """Returns what one operator would replace."""
    node = find_node(model, layer.node)
    known = {tensor.name: tensor for tensor in model.graph.initializer}
    add, bias = None, None
    if node.op_type != "MatMul":
        given = [known[name] for name in node.input[2:3] if name in known]
        bias = constant_vector(given[0], layer.outputs) if given else None
    else:
        after = _only_reader(model, node.output[0])
        if after is not None and after.op_type == "Add" and not after.domain:
            other = after.input[1] if after.input[0] == node.output[0] else after.input[0]
            bias = constant_vector(known[other], layer.outputs) if other in known else None
            add = after if bias is not None else None
    follower = _only_reader(model, (add or node).output[0])
    activation = _activation(follower, known) if follower is not None else None
    narrow = known[layer.weight].data_type != onnx.TensorProto.FLOAT and opset_of(model) < CAST_LIKE
    if activation is not None and activation.name in _NUMBERED and narrow:
        activation = None
    return Chain(node, add, bias, follower if activation is not None else None, activation or Activation())


def _activation(node: NodeProto, known: Mapping[str, onnx.TensorProto]) -> Activation | None:
    """Returns what a node applies, if the operators know it."""
    if node.domain not in ("", "ai.onnx"):
        return None
    if node.op_type in _PLAIN:
        return Activation(_PLAIN[node.op_type])
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type in _DEFAULTS:
        named = next(name for name in ACTIVATIONS if name == node.op_type)
        return Activation(named, {k: float(attributes.get(k, v)) for k, v in _DEFAULTS[node.op_type].items()})
    if node.op_type == "Gelu":
        return Activation("GeluTanh" if attributes.get("approximate", b"none") == b"tanh" else "Gelu")
    if node.op_type != "Clip":
        return None
    bounds = {"min": -_OUTERMOST, "max": _OUTERMOST}
    for slot, name in enumerate(bounds, 1):
        given = node.input[slot] if len(node.input) > slot else ""
        if given and given not in known:
            return None
        if given:
            bounds[name] = float(numpy_helper.to_array(known[given]))
    return Activation("Clip", bounds)


def constant_vector(tensor: onnx.TensorProto, length: int) -> NDArray[Any] | None:
    """Returns a constant that adds one number to each output as a vector [length], or None where it does not."""
    value = numpy_helper.to_array(tensor)
    if value.size == 1 and value.ndim <= 1:
        return np.full(length, value.reshape(())[()], dtype=value.dtype)
    fits = value.size == length and 1 <= value.ndim <= 2 and value.shape[-1] == length
    return np.ascontiguousarray(value.reshape(length)) if fits else None


def _only_reader(model: onnx.ModelProto, name: str) -> NodeProto | None:
    """Returns the node that alone reads a tensor, or None."""
    if any(output.name == name for output in model.graph.output):
        return None
    found = [node for node in model.graph.node if name in node.input]
    deep = any(name in inner for node in model.graph.node for inner in below(node))
    return found[0] if len(found) == 1 and not deep and list(found[0].input).count(name) == 1 else None


def below(node: NodeProto) -> Iterator[set[str]]:
    """Yields the names that subgraphs of a node read."""
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield set(inner.input)
                yield from below(inner)
            yield {output.name for output in graph.output}


def opset_of(model: onnx.ModelProto) -> int:
    """Returns the version of the standard operators."""
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)


def find_node(model: onnx.ModelProto, label: str) -> NodeProto:
    """Returns the node of a label."""
    found: NodeProto = next(node for node in model.graph.node if (node.name or node.output[0]) == label)
    return found
