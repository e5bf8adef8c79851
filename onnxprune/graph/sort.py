"""Topological order of nodes, by names.

The order is the smallest in terms of the nodes' positions, so that a list that is in order
stays as it is.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Sequence

import onnx
import onnx_graphsurgeon as gs

from onnxprune.core.errors import ModelError

__all__ = ["free_names", "node_reads", "sort_graph_proto", "sorted_nodes", "stable_order"]


def stable_order(reads: Sequence[Collection[str]], writes: Sequence[Collection[str]]) -> list[int]:
    """Returns positions in an order where every name is written before it is read.

    Args:
        reads: For each node, the names it reads; names that no node writes are ignored.
        writes: For each node, the names it writes.

    Raises:
        ModelError: when there is a cycle.
    """
    writer = {name: i for i, names in enumerate(writes) for name in names if name}
    followers: list[list[int]] = [[] for _ in reads]
    waiting = [0] * len(reads)
    for i, names in enumerate(reads):
        for source in {writer[name] for name in names if name in writer}:
            followers[source].append(i)
            waiting[i] += 1
    ready = [i for i, count in enumerate(waiting) if count == 0]
    order: list[int] = []
    while ready:
        i = heapq.heappop(ready)
        order.append(i)
        for follower in followers[i]:
            waiting[follower] -= 1
            if waiting[follower] == 0:
                heapq.heappush(ready, follower)
    if len(order) < len(reads):
        stuck = next(i for i, count in enumerate(waiting) if count)
        raise ModelError(
            f"The graph has a cycle through the node that gives {next(iter(writes[stuck]), '')!r}. "
            "An ONNX graph must be free of cycles; export the model again."
        )
    return order


def free_names(graph: gs.Graph) -> set[str]:
    """Returns the names that a subgraph takes from the graphs around it."""
    own = {t.name for t in graph.inputs} | {t.name for node in graph.nodes for t in node.outputs}
    read = {name for node in graph.nodes for name in node_reads(node)} | {t.name for t in graph.outputs}
    return read - own


def node_reads(node: gs.Node) -> set[str]:
    """Returns the names that a node reads, those that its subgraphs take from outside included."""
    names = {t.name for t in node.inputs if t.name}
    for value in node.attrs.values():
        if isinstance(value, gs.Graph):
            names |= free_names(value)
    return names


def sorted_nodes(nodes: Sequence[gs.Node]) -> list[gs.Node]:
    """Returns nodes in topological order."""
    order = stable_order([node_reads(n) for n in nodes], [[t.name for t in n.outputs] for n in nodes])
    return [nodes[i] for i in order]


def sort_graph_proto(graph: onnx.GraphProto) -> set[str]:
    """Puts the nodes of a GraphProto and of its subgraphs into topological order, in place.

    Returns:
        The names that the graph takes from the graphs around it.
    """
    reads: list[set[str]] = []
    for node in graph.node:
        names = {name for name in node.input if name}
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                names |= sort_graph_proto(attribute.g)
        reads.append(names)
    order = stable_order(reads, [node.output for node in graph.node])
    if order != list(range(len(order))):
        nodes = [onnx.NodeProto.FromString(graph.node[i].SerializeToString()) for i in order]
        del graph.node[:]
        graph.node.extend(nodes)
    own = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    own |= {name for node in graph.node for name in node.output}
    return set().union(*reads, {v.name for v in graph.output}) - own
