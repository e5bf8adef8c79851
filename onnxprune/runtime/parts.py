"""A model run part after part, so that only the weights of one part are in memory.

The nodes are divided, in topological order, into stretches whose weights stay below a limit.
Each stretch becomes a model of its own: its weights are written to a temporary data file that
onnxruntime maps, what it reads from earlier stretches is fed, and what later ones read is kept.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from onnxprune.core.errors import DataError
from onnxprune.graph import DataFile, Skeleton
from onnxprune.graph.values import to_tensor
from onnxprune.runtime.values import AnyArray

__all__ = ["Part", "PartRun", "divide", "run_parts"]

Feeds = Mapping[str, AnyArray]

_DATA = "weights.bin"
_LEAST_IR = 4  # below it, initializers are inputs too


@dataclass(frozen=True)
class Part:
    """A stretch of nodes.

    Attributes:
        nodes: The nodes.
        reads: What they read from elsewhere, initializers included, in order of appearance.
        gives: What they compute and later parts or the model's outputs need.
    """

    nodes: tuple[NodeProto, ...]
    reads: tuple[str, ...]
    gives: tuple[str, ...]


@dataclass(frozen=True)
class PartRun:
    """A part ready to run.

    Attributes:
        model: The part as a model; its outputs are `part.gives`.
        folder: Where its weights lie until the next part is asked for.
        part: The part.
        feeds: Its inputs, one mapping for each run.
    """

    model: onnx.ModelProto
    folder: Path
    part: Part
    feeds: tuple[Feeds, ...]


def _node_reads(node: NodeProto) -> Iterator[str]:
    """Yields the names that a node reads, those that its subgraphs take from outside included."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield from _taken(attribute.g)


def _taken(graph: GraphProto) -> Iterator[str]:
    own = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    own |= {name for node in graph.node for name in node.output}
    for node in graph.node:
        yield from (name for name in _node_reads(node) if name not in own)
    yield from (v.name for v in graph.output if v.name not in own)


def divide(skeleton: Skeleton, limit: int) -> tuple[Part, ...]:
    """Returns a model's nodes in parts, in order.

    Args:
        skeleton: The model.
        limit: Bytes of weights above which a part ends; a part holds one node at least.
    """
    nodes = list(skeleton.proto.graph.node)
    reads = [tuple(dict.fromkeys(_node_reads(node))) for node in nodes]
    last = {name: i for i, names in enumerate(reads) for name in names}
    sizes = {t.name: skeleton.size(t) for t in skeleton.proto.graph.initializer}
    stretches: list[list[int]] = [[]]
    held: set[str] = set()
    tied = 0  # no part may end before this node
    for i, names in enumerate(reads):
        inner = sum(skeleton.size(t) for t in skeleton.inner_tensors(nodes[i]))
        needed = held | {name for name in names if sizes.get(name)}
        if stretches[-1] and i > tied and inner + sum(sizes[name] for name in needed) > limit:
            stretches.append([])
            needed -= held
        stretches[-1].append(i)
        held = needed
        if not _gives_arrays(nodes[i]):
            tied = max([tied, *(last.get(name, i) for name in nodes[i].output)])
    outputs = {v.name for v in skeleton.proto.graph.output}
    return tuple(_part(stretch, nodes, reads, last, outputs) for stretch in stretches)


def _gives_arrays(node: NodeProto) -> bool:
    """Returns whether a node surely gives tensors, which alone can be handed from part to part."""
    has_body = any(a.type == AttributeProto.GRAPH for a in node.attribute)
    return not has_body and not node.op_type.startswith(("Sequence", "Optional", "SplitToSequence"))


def _part(
    places: Sequence[int],
    nodes: Sequence[NodeProto],
    reads: Sequence[Sequence[str]],
    last: Mapping[str, int],
    outputs: set[str],
) -> Part:
    given = [name for i in places for name in nodes[i].output if name]
    own = set(given)
    read = dict.fromkeys(name for i in places for name in reads[i] if name not in own)
    later = [name for name in given if name in outputs or last.get(name, -1) > places[-1]]
    return Part(tuple(nodes[i] for i in places), tuple(read), tuple(later))


def run_parts(
    skeleton: Skeleton, parts: Sequence[Part], feeds: Sequence[Feeds], visit: Callable[[PartRun], Sequence[Feeds]]
) -> list[dict[str, AnyArray]]:
    """Returns the model's outputs, one mapping for each run.

    Args:
        skeleton: The model.
        parts: What `divide` gave.
        feeds: Inputs of the model, one mapping for each run.
        visit: Runs one part on each of its feeds and returns its outputs.

    Raises:
        DataError: when an input is missing.
    """
    proto = skeleton.proto
    initializers = {t.name: t for t in proto.graph.initializer}
    needed = [v.name for v in proto.graph.input if v.name not in initializers]
    for each in feeds:
        if missing := [name for name in needed if name not in each]:
            raise DataError(f"The data holds no input {missing[0]!r}. Give one array for each input of the model.")
    wanted = [v.name for v in proto.graph.output]
    held = [{name: each[name] for name in needed} for each in feeds]
    last = {name: i for i, part in enumerate(parts) for name in part.reads}
    for i, part in enumerate(parts):
        with tempfile.TemporaryDirectory(prefix="onnxprune-", ignore_cleanup_errors=True) as scratch:
            given = visit(_part_run(skeleton, part, held, Path(scratch)))
        for values, new in zip(held, given, strict=True):
            values.update(new)
            for name in [n for n in values if last.get(n, -1) <= i and n not in wanted]:
                del values[name]
    return [{name: _value(name, values, skeleton, initializers) for name in wanted} for values in held]


def _value(name: str, values: Feeds, skeleton: Skeleton, initializers: Mapping[str, TensorProto]) -> AnyArray:
    """Returns an output; a model may also give an initializer as it is."""
    return values[name] if name in values else numpy_helper.to_array(skeleton.filled(initializers[name], to_tensor))


def _part_run(skeleton: Skeleton, part: Part, held: Sequence[Feeds], folder: Path) -> PartRun:
    whole = skeleton.proto
    model = onnx.ModelProto(ir_version=max(whole.ir_version, _LEAST_IR))
    model.opset_import.extend(whole.opset_import)
    model.functions.extend(whole.functions)
    graph = model.graph
    graph.name = whole.graph.name
    graph.node.extend(part.nodes)
    graph.output.extend(ValueInfoProto(name=name) for name in part.gives)
    stored = {t.name: t for t in whole.graph.initializer}
    declared = {v.name: v for v in whole.graph.input}
    inputs = [name for name in part.reads if name in held[0]]
    graph.input.extend(declared.get(name) or _typed(name, held[0][name]) for name in inputs)
    sparse = {t.values.name: t for t in whole.graph.sparse_initializer}
    graph.sparse_initializer.extend(sparse[name] for name in part.reads if name in sparse)
    store = DataFile(_DATA, lambda: (folder / _DATA).open("wb"))
    try:
        graph.initializer.extend(stored[name] for name in part.reads if name in stored)
        skeleton.fill(graph, store.place)
    finally:
        store.close()
    return PartRun(model, folder, part, tuple({name: each[name] for name in inputs} for each in held))


def _typed(name: str, value: AnyArray) -> ValueInfoProto:
    kind = TensorProto.STRING if value.dtype.kind in "OUS" else helper.np_dtype_to_tensor_dtype(value.dtype)
    return helper.make_tensor_value_info(name, kind, None)
