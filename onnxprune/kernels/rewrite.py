"""Tiled weights of a model in the forms that onnxruntime can compute them in.

    kernel    a block-sparse operator: by our kernel where a session has it, else by its body
    body      the same of the domain that nobody registers, so by its body in every session
    densify   the dense layer, its weight stored packed and expanded once, when a session loads it
    dense     the dense layer, its weight stored with its zeros

In the first two an operator takes the place of the layer's node and of what only follows it (see `chains`). What cannot
be said in the operators' terms stays as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

from onnxprune.core.tiling import Form, TiledLayer
from onnxprune.graph.edit import fresh_name
from onnxprune.kernels.attach import attach
from onnxprune.kernels.body import OLDEST_OPSET
from onnxprune.kernels.chains import Chain, below, constant_vector, find_chain, find_node, opset_of
from onnxprune.kernels.nodes import DOMAIN, PORTABLE, Window, conv_node, matmul_node, unpack_node
from onnxprune.tiles import Packed, pack, pack_conv

__all__ = ["chain_of", "form_obstacle", "stored_bytes", "write_forms"]

_ELEMENTS = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
    onnx.TensorProto.DOUBLE,
)
_DOMAINS: Mapping[Form, str] = {"kernel": DOMAIN, "body": PORTABLE}


def form_obstacle(model: onnx.ModelProto, layer: TiledLayer, form: Form) -> str:
    """Returns why a layer cannot have a form, or ""."""
    if form == "dense":
        return ""
    opset = opset_of(model)
    if opset < OLDEST_OPSET:
        return f"the model has opset {opset}, and block-sparse operators need {OLDEST_OPSET}"
    known = {tensor.name: tensor for tensor in model.graph.initializer}
    if known[layer.weight].data_type not in _ELEMENTS:
        return f"its weight holds {onnx.TensorProto.DataType.Name(known[layer.weight].data_type).lower()}"
    if form == "densify":
        return ""
    node = find_node(model, layer.node)
    if node.op_type != "MatMul" and len(node.input) > 2 and node.input[2]:
        bias = known.get(node.input[2])
        if bias is None or constant_vector(bias, layer.outputs) is None:
            return "its bias is computed, or no vector"
    return ""


def write_forms(model: onnx.ModelProto, forms: Sequence[tuple[TiledLayer, Form]]) -> onnx.ModelProto:
    """Returns a copy of a model in which layers have the forms given, with the bodies of what stands in it.

    Args:
        model: Weights embedded, zero outside of the tiles that are kept.
        forms: Layers with forms that `form_obstacle` has nothing against; others stay dense.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for layer, form in forms:
        if form == "densify":
            _expand(result, layer)
        elif form != "dense":
            _replace(result, layer, _DOMAINS[form])
    _drop_unread(result)
    attach(result)
    return result


def chain_of(model: onnx.ModelProto, layer: TiledLayer) -> tuple[NodeProto, ...]:
    """Returns the nodes that one operator replaces, the layer's first."""
    return find_chain(model, layer).nodes


def stored_bytes(model: onnx.ModelProto) -> int:
    """Returns the bytes of a model's initializers, which tell one form from another."""
    return sum(tensor.ByteSize() for tensor in model.graph.initializer)


def _packed(model: onnx.ModelProto, layer: TiledLayer) -> Packed:
    """Returns a layer's weight in packed form."""
    weight = numpy_helper.to_array(next(t for t in model.graph.initializer if t.name == layer.weight))
    if layer.operator == "Conv":
        return pack_conv(weight, layer.choice(), layer.block, layer.tile)
    return pack(weight if layer.input_axis == 0 else weight.T, layer.choice(), layer.block, layer.tile)


def _store(model: onnx.ModelProto, arrays: Mapping[str, NDArray[Any]]) -> list[str]:
    """Adds initializers; returns their names, which are new."""
    taken = _names(model)
    names = [fresh_name(name, taken) for name in arrays]
    model.graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(array), name)
        for name, array in zip(names, arrays.values(), strict=True)
    )
    return names


def _expand(model: onnx.ModelProto, layer: TiledLayer) -> None:
    """Stores a layer's weight packed, and has a node compute the dense one, under the same name."""
    packed, node = _packed(model, layer), find_node(model, layer.node)
    stored = next(tensor for tensor in model.graph.initializer if tensor.name == layer.weight)
    element = stored.data_type
    model.graph.initializer.remove(stored)
    names = _store(model, {f"{layer.weight}_tiles": packed.values, f"{layer.weight}_index": packed.index})
    turned = layer.operator == "MatMul" and layer.input_axis == 1
    dense = fresh_name(f"{layer.weight}_turned", _names(model)) if turned else layer.weight
    sizes = {"block_size": layer.block, "in_size": layer.inputs, "out_size": layer.outputs, "element": element}
    made = [unpack_node(layer.operator, names, dense, **sizes, name=f"{layer.node}_weight")]
    if turned:
        made.append(helper.make_node("Transpose", [dense], [layer.weight], perm=[1, 0], name=f"{layer.node}_turned"))
    at = list(model.graph.node).index(node)
    for each in reversed(made):
        model.graph.node.insert(at, each)


def _replace(model: onnx.ModelProto, layer: TiledLayer, domain: str) -> None:
    """Puts an operator in the place of a layer's node and of what only follows it."""
    chain, packed = find_chain(model, layer), _packed(model, layer)
    arrays = {f"{layer.weight}_tiles": packed.values, f"{layer.weight}_index": packed.index}
    bias = chain.bias
    if bias is None and layer.operator == "MatMul":
        bias = np.zeros(layer.outputs, dtype=packed.values.dtype)
    if bias is not None:
        arrays[f"{layer.weight}_bias"] = np.pad(bias, (0, len(layer.kept) * layer.tile - layer.outputs))
    made = _operator(layer, chain, [chain.node.input[0], *_store(model, arrays)], packed.values.shape[2:], domain)
    at = list(model.graph.node).index(chain.nodes[-1])
    model.graph.node.insert(at, made)
    for node in chain.nodes:
        model.graph.node.remove(node)


def _operator(layer: TiledLayer, chain: Chain, inputs: list[str], kernel: tuple[int, ...], domain: str) -> NodeProto:
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
            domain=domain,
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
        domain=domain,
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


def _names(model: onnx.ModelProto) -> set[str]:
    """Returns all names that a new tensor must not have."""
    taken = {tensor.name for tensor in (*model.graph.initializer, *model.graph.input)}
    return taken | {name for node in model.graph.node for name in (*node.input, *node.output)}


def _drop_unread(model: onnx.ModelProto) -> None:
    """Drops initializers that nothing reads any more."""
    read = Counter(name for node in model.graph.node for name in _reads(node))
    read.update(output.name for output in model.graph.output)
    for tensor in [t for t in model.graph.initializer if not read[t.name]]:
        model.graph.initializer.remove(tensor)


def _reads(node: NodeProto) -> Iterable[str]:
    yield from node.input
    for names in below(node):
        yield from names
