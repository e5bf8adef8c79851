"""Tiled weights of a model as block-sparse operators.

A layer's node is replaced, and with it what only follows it: the Add of a bias that is a constant, and an
activation that the operators know. What cannot be said in the operators' terms stays as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

from onnxprune.core.tiling import TiledLayer
from onnxprune.graph.edit import fresh_name
from onnxprune.kernels.activation import ACTIVATIONS, Activation, ActivationName
from onnxprune.kernels.attach import attach
from onnxprune.kernels.bodies import OLDEST_OPSET
from onnxprune.kernels.nodes import Window, conv_node, matmul_node
from onnxprune.tiles import pack, pack_conv

__all__ = ["chain_of", "pack_layers", "packing_obstacle"]

_PLAIN: Mapping[str, ActivationName] = {"Relu": "Relu", "Sigmoid": "Sigmoid", "Tanh": "Tanh", "HardSwish": "HardSwish"}
_DEFAULTS: Mapping[str, Mapping[str, float]] = {
    "LeakyRelu": {"alpha": 0.01},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
}
_ELEMENTS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
_OUTERMOST = 3e38


def packing_obstacle(model: onnx.ModelProto, layer: TiledLayer) -> str:
    """Returns why a layer cannot be a block-sparse operator, or ""."""
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)
    if opset < OLDEST_OPSET:
        return f"the model has opset {opset}, and block-sparse operators need {OLDEST_OPSET}"
    known = {tensor.name: tensor for tensor in model.graph.initializer}
    if known[layer.weight].data_type not in _ELEMENTS:
        return f"its weight holds {onnx.TensorProto.DataType.Name(known[layer.weight].data_type).lower()}"
    node = _find(model, layer.node)
    if node.op_type != "MatMul" and len(node.input) > 2 and node.input[2]:
        bias = known.get(node.input[2])
        if bias is None or _vector(bias, layer.outputs) is None:
            return "its bias is computed, or no vector"
    return ""


def pack_layers(model: onnx.ModelProto, layers: Sequence[TiledLayer]) -> onnx.ModelProto:
    """Returns a copy of a model in which layers are block-sparse operators, with their bodies.

    Args:
        model: Weights embedded, zero outside of the tiles that are kept.
        layers: Those that `packing_obstacle` has nothing against.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for layer in layers:
        _replace(result, layer)
    _drop_unread(result)
    attach(result)
    return result


@dataclass(frozen=True)
class _Chain:
    """A layer's node and what becomes part of its operator."""

    node: NodeProto
    add: NodeProto | None
    bias: NDArray[Any] | None
    last: NodeProto | None
    activation: Activation

    @property
    def nodes(self) -> tuple[NodeProto, ...]:
        return tuple(node for node in (self.node, self.add, self.last) if node is not None)

    @property
    def output(self) -> str:
        return str(self.nodes[-1].output[0])


def chain_of(model: onnx.ModelProto, layer: TiledLayer) -> tuple[NodeProto, ...]:
    """Returns the nodes that one operator replaces, the layer's first."""
    return _chain(model, layer).nodes


def _chain(model: onnx.ModelProto, layer: TiledLayer) -> _Chain:
    node = _find(model, layer.node)
    known = {tensor.name: tensor for tensor in model.graph.initializer}
    add, bias = None, None
    if node.op_type != "MatMul":
        given = [known[name] for name in node.input[2:3] if name in known]
        bias = _vector(given[0], layer.outputs) if given else None
    else:
        after = _only_reader(model, node.output[0])
        if after is not None and after.op_type == "Add" and not after.domain:
            other = after.input[1] if after.input[0] == node.output[0] else after.input[0]
            bias = _vector(known[other], layer.outputs) if other in known else None
            add = after if bias is not None else None
    follower = _only_reader(model, (add or node).output[0])
    activation = _activation(follower, known) if follower is not None else None
    return _Chain(node, add, bias, follower if activation is not None else None, activation or Activation())


def _replace(model: onnx.ModelProto, layer: TiledLayer) -> None:
    chain = _chain(model, layer)
    weight = numpy_helper.to_array(next(t for t in model.graph.initializer if t.name == layer.weight))
    if layer.operator == "Conv":
        packed = pack_conv(weight, layer.choice(), layer.block, layer.tile)
    else:
        packed = pack(weight if layer.input_axis == 0 else weight.T, layer.choice(), layer.block, layer.tile)
    names = [f"{layer.weight}_tiles", f"{layer.weight}_index"]
    arrays = [np.ascontiguousarray(packed.values), packed.index]
    bias = chain.bias
    if bias is None and layer.operator == "MatMul":
        bias = np.zeros(layer.outputs, dtype=weight.dtype)
    if bias is not None:
        bias = np.pad(bias, (0, len(layer.kept) * layer.tile - layer.outputs))
        names.append(f"{layer.weight}_bias")
        arrays.append(bias)
    taken = {tensor.name for tensor in (*model.graph.initializer, *model.graph.input)}
    taken |= {name for node in model.graph.node for name in (*node.input, *node.output)}
    names = [fresh_name(name, taken) for name in names]
    model.graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in zip(names, arrays, strict=True)
    )
    made = _operator(layer, chain, [chain.node.input[0], *names], weight.shape[2:])
    at = list(model.graph.node).index(chain.nodes[-1])
    model.graph.node.insert(at, made)
    for node in chain.nodes:
        model.graph.node.remove(node)


def _operator(layer: TiledLayer, chain: _Chain, inputs: list[str], kernel: tuple[int, ...]) -> NodeProto:
    """The node; `kernel` is the shape of a convolution's."""
    if layer.operator == "MatMul":
        return matmul_node(
            inputs,
            chain.output,
            block_k=layer.block,
            in_features=layer.inputs,
            out_features=layer.outputs,
            activation=chain.activation,
            name=chain.node.name,
        )
    return conv_node(
        inputs,
        chain.output,
        tiles=len(layer.kept),
        block_c=layer.block,
        in_channels=layer.inputs,
        out_channels=layer.outputs,
        window=_window(chain.node, kernel),
        activation=chain.activation,
        name=chain.node.name,
    )


def _window(node: NodeProto, kernel: tuple[int, ...]) -> Window:
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    steps = tuple(int(n) for n in attributes.get("dilations", (1,) * len(kernel)))
    pads = tuple(int(n) for n in attributes.get("pads", ()))
    auto = attributes.get("auto_pad", b"NOTSET").decode()
    if auto.startswith("SAME"):
        # with strides of one, what SAME adds does not depend on the input
        whole = [d * (k - 1) for k, d in zip(kernel, steps, strict=True)]
        less, more = tuple(n // 2 for n in whole), tuple(n - n // 2 for n in whole)
        pads = less + more if auto == "SAME_UPPER" else more + less
    elif auto == "VALID":
        pads = ()
    return Window(kernel, pads, tuple(int(n) for n in attributes.get("strides", ())), steps)


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


def _vector(tensor: onnx.TensorProto, length: int) -> NDArray[Any] | None:
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
    deep = any(name in inner for node in model.graph.node for inner in _below(node))
    return found[0] if len(found) == 1 and not deep and list(found[0].input).count(name) == 1 else None


def _below(node: NodeProto) -> Iterator[set[str]]:
    """Yields the names that subgraphs of a node read."""
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield set(inner.input)
                yield from _below(inner)
            yield {output.name for output in graph.output}


def _find(model: onnx.ModelProto, label: str) -> NodeProto:
    found: NodeProto = next(node for node in model.graph.node if (node.name or node.output[0]) == label)
    return found


def _drop_unread(model: onnx.ModelProto) -> None:
    """Drops initializers that nothing reads any more."""
    read = Counter(name for node in model.graph.node for name in _reads(node))
    read.update(output.name for output in model.graph.output)
    for tensor in [t for t in model.graph.initializer if not read[t.name]]:
        model.graph.initializer.remove(tensor)


def _reads(node: NodeProto) -> Iterable[str]:
    yield from node.input
    for names in _below(node):
        yield from names
