"""The part of a graph that depends on nothing but initializers, as a model of its own.

Somebody with a runtime evaluates it and hands the results to `fold_values`. Left alone are
operators that draw random numbers, DequantizeLinear (folding it would undo a quantization),
results so large that folding would bloat the file, and computations on a weight that other
nodes read as well (folding would untie the two), unless all of them cut parts of it that do not
overlap.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import onnx
import onnx_graphsurgeon as gs
from onnx import GraphProto, TensorProto, ValueInfoProto, helper

from onnxprune.graph.clone import clone_graph
from onnxprune.graph.edit import drop_nodes, subgraph_reads
from onnxprune.graph.export import export_model, main_initializers
from onnxprune.graph.header import Header
from onnxprune.graph.model import Model
from onnxprune.graph.values import byte_size, is_float, numpy_dtype, packed_bytes, to_tensor

__all__ = ["RANDOM_OPS", "constant_frontier", "constant_tensors"]

RANDOM_OPS = (
    "Bernoulli",
    "Dropout",  # in training mode
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
)
_NEVER = (*RANDOM_OPS, "DequantizeLinear", "DynamicQuantizeLinear")
_GROWING: tuple[str, ...] = (
    "CenterCropPad",
    "ConstantOfShape",
    "Expand",
    "EyeLike",
    "Gather",
    "GatherND",
    "OneHot",
    "Pad",
    "Range",
)
_GROWING += ("Resize", "Tile", "Upsample")
_CUTTERS = ("Slice", "Split")
_FREE_BYTES = 2**20
_SMALL_BYTES = 1024


def constant_tensors(model: Model) -> tuple[str, ...]:
    """Returns the names of the tensors that `constant_frontier` computes, in graph order."""
    return _needed(model, _foldable(model))


def constant_frontier(model: Model) -> onnx.ModelProto | None:
    """Returns a self-contained model without inputs whose outputs are the constants in disguise.

    Its outputs are those that the rest of the graph reads; graph outputs are not among them.
    None when there is nothing to fold.
    """
    nodes = _foldable(model)
    names = _needed(model, nodes)
    if not names:
        return None
    types = _infer(model, nodes)
    part = _part(model, nodes)
    for name in names:
        tensor = part[1][name]
        info = types.get(name)
        if info is not None:
            tensor.dtype, tensor.shape = info.type.tensor_type.elem_type, _static_shape(info)
    part[0].outputs = [part[1][name] for name in names]
    return export_model(part[0], _header(model), to_tensor)


def _header(model: Model) -> Header:
    header = model.header
    return replace(header, ir_version=max(header.ir_version, 4), functions=(), metadata={}, rest=None)


def _foldable(model: Model) -> list[gs.Node]:
    """Returns the nodes that may be folded, in topological order."""
    candidates = _constant_nodes(model)
    types = _infer(model, candidates) if candidates else {}
    constants = model.initializers()
    sizes = {name: byte_size(constant._values) for name, constant in constants.items()}
    weights = {name for name, constant in constants.items() if len(constant.shape) > 1 and is_float(constant.dtype)}
    cut: Counter[str] = Counter()  # weight → bytes of all parts that are taken of it; more than its own overlap
    for node in candidates:
        if node.op in _CUTTERS:
            cut[node.inputs[0].name] += sum(_result_bytes(types.get(t.name)) or 0 for t in node.outputs if t.name)
    kept = []
    for node in candidates:
        reads = [t.name for t in node.inputs if t.name]
        if all(name in sizes for name in reads) and not (node.op in _CUTTERS and cut[reads[0]] > sizes[reads[0]]):
            results = [_result_bytes(types.get(t.name)) for t in node.outputs if t.name]
            budget = max(_FREE_BYTES, sum(sizes[name] for name in reads))
            unknown = any(size is None for size in results)
            if node.op in _GROWING and any(name in weights for name in reads):
                budget = sum(sizes[name] for name in reads if name in weights)  # what is learned must not be spread out
            if sum(size or 0 for size in results) <= budget and not (unknown and node.op in _GROWING):
                sizes.update((t.name, size or 0) for t, size in zip(_named(node.outputs), results, strict=True))
                kept.append(node)
    return kept


def _named(tensors: list[gs.Tensor]) -> list[gs.Tensor]:
    return [t for t in tensors if t.name]


def _constant_nodes(model: Model) -> list[gs.Node]:
    """Returns the nodes that depend on initializers alone, by their operators and links."""
    constants = model.initializers()
    readers = Counter(t.name for node in model.graph.nodes for t in node.inputs)
    readers.update(subgraph_reads(model.graph))
    readers.update(t.name for t in model.graph.outputs)
    tied = {
        n
        for n, c in constants.items()
        if readers[n] > 1 and len(c.shape) > 1 and is_float(c.dtype) and not _only_cut(c, readers[n])
    }
    local = {(f.domain, f.name) for f in model.header.functions}
    known = set(constants) - tied
    found = []
    for node in model.nodes:
        reads = [t.name for t in node.inputs if t.name]
        if all(name in known for name in reads) and _evaluable(node) and (node.domain or "", node.op) not in local:
            known.update(t.name for t in node.outputs if t.name)
            found.append(node)
    return found


def _only_cut(constant: gs.Constant, readers: int) -> bool:
    """Returns whether all that read a weight take parts of it, as of a packed projection."""
    cutters = [node for node in constant.outputs if node.op in _CUTTERS and node.inputs[0] is constant]
    return len(cutters) == readers


def _evaluable(node: gs.Node) -> bool:
    if node.domain not in (None, "", "ai.onnx") or node.op in _NEVER:
        return False
    if node.op.startswith(("Sequence", "Optional", "SplitToSequence", "ConcatFromSequence")):
        return False
    return not any(isinstance(value, gs.Graph) for value in node.attrs.values())


def _needed(model: Model, nodes: list[gs.Node]) -> tuple[str, ...]:
    """Returns what nodes give to the rest of the graph, graph outputs aside."""
    inside = {id(node) for node in nodes}
    read = {t.name for node in model.graph.nodes if id(node) not in inside for t in node.inputs}
    read |= subgraph_reads(model.graph)
    outputs = {t.name for t in model.graph.outputs}
    return tuple(t.name for node in nodes for t in node.outputs if t.name in read and t.name not in outputs)


def _part(model: Model, nodes: list[gs.Node]) -> tuple[gs.Graph, dict[str, gs.Tensor]]:
    """Returns a graph of copies of `nodes` alone, and its computed tensors by name."""
    inside = {id(node) for node in nodes}
    places = [i for i, node in enumerate(model.graph.nodes) if id(node) not in inside]
    graph = clone_graph(model.graph)
    graph.onnx_source = GraphProto()
    graph.inputs, graph.outputs = [], []
    drop_nodes(graph, [graph.nodes[i] for i in places])
    return graph, {t.name: t for node in graph.nodes for t in node.outputs}


def _infer(model: Model, nodes: list[gs.Node]) -> Mapping[str, ValueInfoProto]:
    """Returns the types of what nodes compute, as far as shape inference knows; large weights stay unread."""
    graph, _ = _part(model, nodes)
    constants = main_initializers(graph)
    large = {name: c for name, c in constants.items() if byte_size(c._values) > _SMALL_BYTES}
    proto = export_model(
        graph, _header(model), lambda name, v: TensorProto(name=name) if name in large else to_tensor(name, v)
    )
    small = [tensor for tensor in proto.graph.initializer if tensor.name not in large]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(small)
    for name, constant in large.items():
        kind = helper.np_dtype_to_tensor_dtype(numpy_dtype(constant.dtype))
        proto.graph.input.append(helper.make_tensor_value_info(name, kind, constant.shape))
    inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    return {info.name: info for info in inferred.graph.value_info if info.type.HasField("tensor_type")}


def _static_shape(info: ValueInfoProto) -> list[int] | None:
    kind = info.type.tensor_type
    if not kind.HasField("shape") or not all(d.HasField("dim_value") for d in kind.shape.dim):
        return None
    return [d.dim_value for d in kind.shape.dim]


def _result_bytes(info: ValueInfoProto | None) -> int | None:
    """Returns the bytes of a tensor, None where its type is not fully known."""
    shape = None if info is None else _static_shape(info)
    if info is None or shape is None:
        return None
    kind = info.type.tensor_type.elem_type
    return 8 * math.prod(shape) if kind == TensorProto.STRING else packed_bytes(kind, tuple(shape))
