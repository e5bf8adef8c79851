"""What GraphSurgeon would lose of nodes and graphs, kept beside them.

GraphSurgeon holds no node doc strings, overloads and metadata, no type or sparse attributes,
no strings that are not UTF-8, no type of an empty list, no denotations, and it merges a
subgraph's initializers with those around it. These are taken out of the proto before it is
imported and hung on the imported nodes and graphs as `onnx_source` (a NodeProto or GraphProto
with only what GraphSurgeon lacks) and `local_initializers` (names).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx
import onnx_graphsurgeon as gs
from onnx import AttributeProto, GraphProto, NodeProto

__all__ = [
    "Aside",
    "carry_over",
    "empty_attribute",
    "graph_source",
    "local_initializers",
    "node_source",
    "reattach",
    "set_aside",
    "unheld_attributes",
]

_HELD = (
    AttributeProto.FLOAT,
    AttributeProto.INT,
    AttributeProto.STRING,
    AttributeProto.TENSOR,
    AttributeProto.GRAPH,
    AttributeProto.FLOATS,
    AttributeProto.INTS,
    AttributeProto.STRINGS,
)
_LISTS = {AttributeProto.FLOATS: "floats", AttributeProto.INTS: "ints", AttributeProto.STRINGS: "strings"}


@dataclass(frozen=True)
class Aside:
    """What was taken aside of one graph.

    Attributes:
        graph: Name, doc string, metadata, inputs and outputs of the graph.
        nodes: Per node, what GraphSurgeon cannot hold.
        subgraphs: Per node, attribute name → the same of its subgraph.
        initializers: Names of the graph's own initializers.
    """

    graph: GraphProto
    nodes: tuple[NodeProto, ...]
    subgraphs: tuple[dict[str, Aside], ...]
    initializers: frozenset[str]


def set_aside(graph: GraphProto) -> Aside:
    """Takes out of a graph what GraphSurgeon cannot import, in place, and returns it."""
    source = GraphProto(name=graph.name, doc_string=graph.doc_string)
    source.input.extend(graph.input)
    source.output.extend(graph.output)
    source.metadata_props.extend(graph.metadata_props)
    nodes, subgraphs = [], []
    for node in graph.node:
        subgraphs.append({a.name: set_aside(a.g) for a in node.attribute if a.type == AttributeProto.GRAPH})
        nodes.append(_node_aside(node))
    names = {t.name for t in graph.initializer} | {t.values.name for t in graph.sparse_initializer}
    return Aside(source, tuple(nodes), tuple(subgraphs), frozenset(names))


def _node_aside(node: NodeProto) -> NodeProto:
    source = NodeProto(doc_string=node.doc_string, overload=node.overload)
    source.metadata_props.extend(node.metadata_props)
    source.device_configurations.extend(node.device_configurations)
    source.attribute.extend(a for a in node.attribute if not _held(a) or _empty(a))
    for i in reversed(range(len(node.attribute))):
        if not _held(node.attribute[i]):
            del node.attribute[i]
    return source


def _empty(attribute: AttributeProto) -> bool:
    return attribute.type in _LISTS and not getattr(attribute, _LISTS[attribute.type])


def _held(attribute: AttributeProto) -> bool:
    if attribute.type not in _HELD:
        return False
    try:
        for text in (attribute.s, *attribute.strings):
            text.decode()
    except UnicodeDecodeError:
        return False
    return True


def reattach(graph: gs.Graph, aside: Aside, outer: frozenset[str] = frozenset()) -> None:
    """Hangs what was taken aside on the imported graph, its nodes and its subgraphs.

    Args:
        graph: The imported graph.
        aside: What `set_aside` gave for its proto.
        outer: Names of initializers around it; GraphSurgeon reads a name from outside first.
    """
    graph.onnx_source = aside.graph
    graph.local_initializers = aside.initializers - outer
    for node, source, subgraphs in zip(graph.nodes, aside.nodes, aside.subgraphs, strict=True):
        node.onnx_source = source
        for name, inner in subgraphs.items():
            reattach(node.attrs[name], inner, outer | aside.initializers)


def carry_over(old: gs.Graph | gs.Node, new: gs.Graph | gs.Node) -> None:
    """Gives a copy of a graph or node what hangs on the original."""
    for name in ("onnx_source", "local_initializers"):
        if name in vars(old):
            setattr(new, name, vars(old)[name])


def node_source(node: gs.Node) -> NodeProto:
    """Returns what GraphSurgeon lacks of a node; an empty proto for a node made here."""
    return vars(node).get("onnx_source") or NodeProto()


def graph_source(graph: gs.Graph) -> GraphProto:
    """Returns what GraphSurgeon lacks of a graph; an empty proto for a graph made here."""
    return vars(graph).get("onnx_source") or GraphProto()


def local_initializers(graph: gs.Graph) -> frozenset[str]:
    """Returns the names of the initializers that a subgraph holds itself."""
    names: frozenset[str] = vars(graph).get("local_initializers", frozenset())
    return names


def unheld_attributes(source: onnx.NodeProto) -> Iterator[AttributeProto]:
    """Yields the attributes of a node that GraphSurgeon cannot hold at all."""
    return (a for a in source.attribute if not _empty(a))


def empty_attribute(source: onnx.NodeProto, name: str) -> AttributeProto:
    """Returns an empty list attribute with the type that the source file gave it, else integers."""
    found: AttributeProto = next(
        (a for a in source.attribute if a.name == name and _empty(a)),
        AttributeProto(name=name, type=AttributeProto.INTS),
    )
    return found
