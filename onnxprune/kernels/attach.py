"""Bodies put into models, so that a file runs in any onnxruntime.

A session that has the library registered computes the operators with its kernels; any other inlines the bodies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import onnx
from onnx import FunctionProto, GraphProto, NodeProto, helper

from onnxprune.core.errors import ModelError
from onnxprune.kernels.activation import ACTIVATIONS, ActivationName
from onnxprune.kernels.bodies import conv_body, matmul_body
from onnxprune.kernels.nodes import CONV, DOMAIN, MATMUL, VERSION

__all__ = ["attach", "functions", "own_nodes"]

_FUNCTIONS_SINCE_IR = 8
_MATMUL_SIZES = ("in_features", "out_features", "block_k")
_CONV_SIZES = ("in_channels", "out_channels", "block_c")


def functions(opset: int) -> list[FunctionProto]:
    """Returns the bodies of all operators, for all sizes.

    Args:
        opset: Version of the standard operators in the bodies; functions of a model must have the model's.

    Raises:
        UsageError: when the opset is too old.
    """
    return [make(name, opset) for make in (matmul_body, conv_body) for name in ACTIVATIONS]


def attach(model: onnx.ModelProto) -> int:
    """Gives a model the bodies of the block-sparse operators it uses, in place; returns how many.

    Bodies that are there already are replaced, and those that are no longer used go.

    Args:
        model: The model; nodes may lie in subgraphs and in other functions.

    Raises:
        ModelError: when an operator of our domain is unknown, or lacks an attribute.
        UsageError: when the opset is too old.
    """
    kept = [function for function in model.functions if function.domain != DOMAIN]
    used: dict[str, list[NodeProto]] = {}
    for node in _walk(model.graph.node):
        used.setdefault(node.op_type, []).append(node)
    for function in kept:
        inside = list(_walk(function.node))
        if inside and all(entry.domain != DOMAIN for entry in function.opset_import):
            function.opset_import.append(helper.make_opsetid(DOMAIN, VERSION))
        for node in inside:
            used.setdefault(node.op_type, []).append(node)
    shapes = {tensor.name: list(tensor.dims) for graph in _graphs(model) for tensor in graph.initializer}
    made = [_body(name, nodes, _opset(model), shapes) for name, nodes in sorted(used.items())]
    del model.functions[:]
    model.functions.extend([*kept, *made])
    if made and all(entry.domain != DOMAIN for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid(DOMAIN, VERSION))
    if made:
        model.ir_version = max(model.ir_version, _FUNCTIONS_SINCE_IR)
    return len(made)


def own_nodes(model: onnx.ModelProto) -> tuple[list[NodeProto], list[NodeProto]]:
    """Returns the nodes of our domain in the main graph, and those in subgraphs and in functions of other domains."""
    outer = [node for node in model.graph.node if node.domain == DOMAIN]
    inner = [node for node in _walk(model.graph.node) if all(node is not other for other in outer)]
    for function in model.functions:
        if function.domain != DOMAIN:
            inner += _walk(function.node)
    return outer, inner


def _graphs(model: onnx.ModelProto) -> Iterator[GraphProto]:
    """Yields the main graph and all below it."""
    waiting = [model.graph]
    while waiting:
        graph = waiting.pop()
        yield graph
        waiting += [inner for node in graph.node for a in node.attribute for inner in (a.g, *a.graphs)]


def _walk(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Yields the nodes of our domain, also those in subgraphs."""
    for node in nodes:
        if node.domain == DOMAIN:
            yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _walk(graph.node)


def _opset(model: onnx.ModelProto) -> int:
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)


def _body(name: str, nodes: list[NodeProto], opset: int, shapes: Mapping[str, list[int]]) -> FunctionProto:
    base = next((base for base in (MATMUL, CONV) if name.startswith(base)), None)
    activation = _known(name.removeprefix(base)) if base is not None else None
    if base is None or activation is None:
        raise ModelError(f"{DOMAIN}::{name} is no operator of version {VERSION} of the domain {DOMAIN}.")
    sizes = _MATMUL_SIZES if base == MATMUL else _CONV_SIZES
    for node in nodes:
        missing = {*sizes, *ACTIVATIONS[activation]} - {attribute.name for attribute in node.attribute}
        if missing:
            raise ModelError(f"{name} '{node.name}' lacks the attribute {sorted(missing)[0]}.")
        if base == MATMUL and (len(node.input) != 4 or not all(node.input)):
            raise ModelError(f"{name} '{node.name}' has no bias; give it zeros, its body needs one.")
    make = matmul_body if base == MATMUL else conv_body
    return make(activation, opset, ragged=any(_is_ragged(node, base, sizes, shapes) for node in nodes))


def _known(name: str) -> ActivationName | None:
    return next((known for known in ACTIVATIONS if known == name), None)


def _is_ragged(node: NodeProto, base: str, sizes: tuple[str, str, str], shapes: Mapping[str, list[int]]) -> bool:
    """Returns whether the last block or tile is cut short, as far as is known: bodies for that serve all."""
    values = {attribute.name: attribute.i for attribute in node.attribute}
    inputs, outputs, block = (values[name] for name in sizes)
    weight = shapes.get(node.input[1])
    if weight is None or len(weight) < 3:
        return True
    padded = weight[0] * weight[2] if base == MATMUL else weight[0]
    return bool(inputs % max(1, block) != 0 or outputs != padded)
