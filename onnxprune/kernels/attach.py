"""Bodies put into models, so that a file runs in any onnxruntime.

A session that has the library registered computes the operators of the domain `onnxprune` with its kernels; any other
inlines their bodies, and those of `onnxprune.portable` are inlined by all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import onnx
from onnx import FunctionProto, GraphProto, NodeProto, helper

from onnxprune.core.errors import ModelError
from onnxprune.kernels.activation import ACTIVATIONS, ActivationName
from onnxprune.kernels.bodies import conv_body, matmul_body
from onnxprune.kernels.nodes import CONV, DOMAIN, MATMUL, PORTABLE, UNPACK_CONV, UNPACK_MATMUL, VERSION
from onnxprune.kernels.unpacking import UNPACK_ATTRIBUTES, unpack_conv_body, unpack_matmul_body

__all__ = ["attach", "functions", "own_nodes"]

_FUNCTIONS_SINCE_IR = 8
_OURS = (DOMAIN, PORTABLE)
_UNPACKING = {UNPACK_MATMUL: unpack_matmul_body, UNPACK_CONV: unpack_conv_body}
_MATMUL_SIZES = ("in_features", "out_features", "block_k")
_CONV_SIZES = ("in_channels", "out_channels", "block_c")


def functions(opset: int) -> list[FunctionProto]:
    """Returns the bodies of all operators that have kernels, for all sizes.

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
    kept = [function for function in model.functions if function.domain not in _OURS]
    used: dict[tuple[str, str], list[NodeProto]] = {}
    for node in _walk(model.graph.node):
        used.setdefault((node.domain, node.op_type), []).append(node)
    for function in kept:
        inside = list(_walk(function.node))
        _import(function, {node.domain for node in inside})
        for node in inside:
            used.setdefault((node.domain, node.op_type), []).append(node)
    shapes = {tensor.name: list(tensor.dims) for graph in _graphs(model) for tensor in graph.initializer}
    made = [_body(*key, nodes, _opset(model), shapes) for key, nodes in sorted(used.items())]
    del model.functions[:]
    model.functions.extend([*kept, *made])
    _import(model, {domain for domain, _ in used})
    if made:
        model.ir_version = max(model.ir_version, _FUNCTIONS_SINCE_IR)
    return len(made)


def _import(holder: onnx.ModelProto | FunctionProto, domains: set[str]) -> None:
    """Has a model or a function import domains of ours."""
    known = {entry.domain for entry in holder.opset_import}
    holder.opset_import.extend(helper.make_opsetid(domain, VERSION) for domain in sorted(domains - known))


def own_nodes(model: onnx.ModelProto) -> tuple[list[NodeProto], list[NodeProto]]:
    """Returns the nodes of our kernels' domain in the main graph, and those in subgraphs and in others' functions."""
    outer = [node for node in model.graph.node if node.domain == DOMAIN]
    inner = [node for node in _walk(model.graph.node) if all(node is not other for other in outer)]
    for function in model.functions:
        if function.domain not in _OURS:
            inner += _walk(function.node)
    return outer, [node for node in inner if node.domain == DOMAIN]


def _graphs(model: onnx.ModelProto) -> Iterator[GraphProto]:
    """Yields the main graph and all below it."""
    waiting = [model.graph]
    while waiting:
        graph = waiting.pop()
        yield graph
        waiting += [inner for node in graph.node for a in node.attribute for inner in (a.g, *a.graphs)]


def _walk(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Yields the nodes of our domains, also those in subgraphs."""
    for node in nodes:
        if node.domain in _OURS:
            yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _walk(graph.node)


def _opset(model: onnx.ModelProto) -> int:
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)


def _body(domain: str, name: str, nodes: list[NodeProto], opset: int, shapes: Mapping[str, list[int]]) -> FunctionProto:
    if domain == PORTABLE and name in _UNPACKING:
        _check_attributes(nodes, set(UNPACK_ATTRIBUTES))
        return _UNPACKING[name](opset)
    base = next((base for base in (MATMUL, CONV) if name.startswith(base)), None)
    activation = _known(name.removeprefix(base)) if base is not None else None
    if base is None or activation is None:
        raise ModelError(f"{domain}::{name} is no operator of version {VERSION} of the domain {domain}.")
    sizes = _MATMUL_SIZES if base == MATMUL else _CONV_SIZES
    _check_attributes(nodes, {*sizes, *ACTIVATIONS[activation]})
    for node in nodes:
        if base == MATMUL and (len(node.input) != 4 or not all(node.input)):
            raise ModelError(f"{name} '{node.name}' has no bias; give it zeros, its body needs one.")
    make = matmul_body if base == MATMUL else conv_body
    return make(activation, opset, ragged=any(_is_ragged(node, base, sizes, shapes) for node in nodes), domain=domain)


def _check_attributes(nodes: list[NodeProto], needed: set[str]) -> None:
    for node in nodes:
        missing = needed - {attribute.name for attribute in node.attribute}
        if missing:
            raise ModelError(f"{node.op_type} '{node.name}' lacks the attribute {sorted(missing)[0]}.")


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
