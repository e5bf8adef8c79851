"""A model without some of its nodes, so that the rest can be run.

What the missing nodes read becomes a graph output, what they gave a graph input. Two models
that share the missing nodes agree if their cuts agree on all outputs for all inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from onnxprune.core.errors import InternalError
from onnxprune.graph.edit import drop_nodes, subgraph_reads
from onnxprune.graph.model import Model, TensorSpec, tensor_spec
from onnxprune.graph.sort import node_reads

__all__ = ["Cut", "cut_at"]


@dataclass(frozen=True)
class Cut:
    """A model with nodes cut out.

    Attributes:
        model: The rest; its graph outputs are the original's, as far as they remain, then `outputs`.
        inputs: What cut nodes gave and the rest reads: graph inputs added behind the original's.
        outputs: What the rest computes and cut or dropped nodes read: graph outputs added.
        dropped_nodes: Nodes that had to go because they depend on a cut node's output whose
            dtype or rank the source file does not state: names, or operator and first output.
        dropped_outputs: Graph outputs that cut or dropped nodes computed.
    """

    model: Model
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    dropped_nodes: tuple[str, ...] = ()
    dropped_outputs: tuple[str, ...] = ()


def cut_at(model: Model, nodes: Collection[str | gs.Node] | Callable[[gs.Node], bool]) -> Cut:
    """Returns the model without some nodes; `model` is left as it is.

    Types of the new inputs are those that the source file states for the cut nodes' outputs.
    They hold for a pruned model too, as an operator nothing is known of freezes what it touches.

    Args:
        model: The model.
        nodes: Names of nodes, nodes of `model.graph`, or what tells a node that is to be cut.

    Raises:
        InternalError: when a name or node is not in the main graph.
    """
    places = _places(model, nodes)
    copy = model.copy()
    graph = copy.graph
    cut = [graph.nodes[i] for i in places]
    known = {t.name: t for node in cut for t in node.outputs if t.name and _known(t)}
    unknown = {t.name for node in cut for t in node.outputs if t.name and t.name not in known}
    dropped = _downstream(copy, cut, unknown)
    gone = {id(node) for node in (*cut, *dropped)}
    read_by_gone = {name for node in (*cut, *dropped) for name in node_reads(node)}
    lost = {t.name for node in (*cut, *dropped) for t in node.outputs}
    labels = tuple(node.name or f"{node.op} -> {node.outputs[0].name}" for node in dropped)
    lost_outputs = tuple(t.name for t in graph.outputs if t.name in lost)
    drop_nodes(graph, [node for node in graph.nodes if id(node) in gone])
    graph.outputs = [t for t in graph.outputs if t.name not in lost]
    inputs, outputs = _open_ends(graph, known, read_by_gone)
    graph.inputs = [*graph.inputs, *inputs]
    graph.outputs = [*graph.outputs, *outputs]
    return Cut(
        copy, tuple(tensor_spec(t) for t in inputs), tuple(tensor_spec(t) for t in outputs), labels, lost_outputs
    )


def _open_ends(
    graph: gs.Graph, given: Mapping[str, gs.Tensor], wanted: Collection[str]
) -> tuple[list[gs.Tensor], list[gs.Tensor]]:
    """Returns which of `given` the rest reads, and what it computes of `wanted` without giving it yet."""
    read = {t.name for node in graph.nodes for t in node.inputs} | subgraph_reads(graph)
    already = {t.name for t in graph.outputs}
    computed = [t for node in graph.nodes for t in node.outputs]
    return (
        [tensor for name, tensor in given.items() if name in read],
        [tensor for tensor in computed if tensor.name in wanted and tensor.name not in already],
    )


def _places(model: Model, nodes: Collection[str | gs.Node] | Callable[[gs.Node], bool]) -> list[int]:
    """Returns the positions of the chosen nodes in the main graph."""
    everything = model.graph.nodes
    if callable(nodes):
        return [i for i, node in enumerate(everything) if nodes(node)]
    names = {node for node in nodes if isinstance(node, str)}
    chosen = {id(node) for node in nodes if not isinstance(node, str)}
    places = [i for i, node in enumerate(everything) if node.name in names or id(node) in chosen]
    missing = sorted(names - {everything[i].name for i in places})
    if missing or len(chosen - {id(everything[i]) for i in places}):
        raise InternalError(f"cannot cut at nodes that are not in the graph: {', '.join(missing) or 'foreign nodes'}")
    return places


def _known(tensor: gs.Tensor) -> bool:
    spec = tensor_spec(tensor)
    return spec.dtype is not None and spec.shape is not None


def _downstream(model: Model, cut: list[gs.Node], unknown: set[str]) -> list[gs.Node]:
    """Returns the nodes that depend on tensors of unknown type, the cut ones aside."""
    tainted = set(unknown)
    skip = {id(node) for node in cut}
    found = []
    for node in model.nodes:
        if id(node) not in skip and node_reads(node) & tainted:
            tainted.update(t.name for t in node.outputs if t.name)
            found.append(node)
    return found
