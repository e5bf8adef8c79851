"""Small edits of GraphSurgeon graphs that keep both sides of every link in step.

GraphSurgeon compares nodes by content when it unlinks them, and its `cleanup` clears what
produces a graph input; these go by identity and leave inputs and outputs of the graph alone.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_graphsurgeon as gs

from onnxprune.graph.sort import free_names
from onnxprune.graph.values import Values

__all__ = [
    "all_names",
    "become_constant",
    "drop_dead",
    "drop_nodes",
    "fresh_name",
    "set_input",
    "subgraph_reads",
    "subgraphs",
]


def subgraphs(graph: gs.Graph) -> list[gs.Graph]:
    """Returns the subgraphs of a graph's nodes, nested ones included."""
    found: list[gs.Graph] = []
    for node in graph.nodes:
        for value in node.attrs.values():
            if isinstance(value, gs.Graph):
                found += [value, *subgraphs(value)]
    return found


def all_names(graph: gs.Graph) -> set[str]:
    """Returns every tensor name in a graph and its subgraphs."""
    names: set[str] = set()
    for part in (graph, *subgraphs(graph)):
        names |= {t.name for t in (*part.inputs, *part.outputs)}
        names |= {t.name for node in part.nodes for t in (*node.inputs, *node.outputs)}
    return names


def subgraph_reads(graph: gs.Graph) -> set[str]:
    """Returns the names that the subgraphs of a graph take from it."""
    return set().union(*(free_names(v) for n in graph.nodes for v in n.attrs.values() if isinstance(v, gs.Graph)))


def set_input(node: gs.Node, slot: int, tensor: gs.Tensor) -> None:
    """Makes a node read another tensor at one of its inputs."""
    _unlink(node.inputs[slot].outputs, node)
    list.__setitem__(node.inputs, slot, tensor)
    list.append(tensor.outputs, node)


def fresh_name(base: str, taken: set[str]) -> str:
    """Returns `base`, or `base` with the first free number behind it, and takes it."""
    name, number = base, 2
    while name in taken:
        name, number = f"{base}__{number}", number + 1
    taken.add(name)
    return name


def become_constant(tensor: gs.Variable, values: Values, taken: set[str]) -> None:
    """Turns a computed tensor into an initializer of the same name; every reader sees it.

    The output slot that computed it gets a tensor under a new name, as positions of outputs
    carry meaning.

    Args:
        tensor: The tensor.
        values: Its values; an array is kept, not copied.
        taken: Every name in the graph; new names are added.
    """
    for node in list(tensor.inputs):
        for slot, output in enumerate(node.outputs):
            if output is tensor:
                unread = gs.Variable(fresh_name(f"{tensor.name}__computed", taken), tensor.dtype, tensor.shape)
                list.__setitem__(node.outputs, slot, unread)
                list.append(unread.inputs, node)
    list.clear(tensor.inputs)
    if isinstance(values, np.ndarray):
        values.flags.writeable = False  # copies of the model share the array
    tensor.to_constant(values)


def drop_nodes(graph: gs.Graph, nodes: Collection[gs.Node]) -> None:
    """Removes nodes from a graph and unlinks them from what they read and gave."""
    gone = {id(node) for node in nodes}
    for node in nodes:
        for tensor in node.inputs:
            _unlink(tensor.outputs, node)
        for tensor in node.outputs:
            _unlink(tensor.inputs, node)
        for value in node.attrs.values():
            if isinstance(value, gs.Graph):
                drop_nodes(value, list(value.nodes))
        list.clear(node.inputs)
        list.clear(node.outputs)
    graph.nodes = [node for node in graph.nodes if id(node) not in gone]


def drop_dead(graph: gs.Graph) -> int:
    """Removes the nodes of the main graph that no graph output depends on; returns how many."""
    total = 0
    while dead := _dead(graph):  # again, as a dead node with a subgraph keeps what that reads
        drop_nodes(graph, dead)
        total += len(dead)
    return total


def _dead(graph: gs.Graph) -> list[gs.Node]:
    read = {t.name for t in graph.outputs} | subgraph_reads(graph)
    alive: set[int] = set()
    waiting = [node for node in graph.nodes if any(t.name in read for t in node.outputs)]
    while waiting:
        node = waiting.pop()
        if id(node) not in alive:
            alive.add(id(node))
            waiting += [producer for tensor in node.inputs for producer in tensor.inputs]
    return [node for node in graph.nodes if id(node) not in alive]


def _unlink(nodes: list[gs.Node], node: gs.Node) -> None:
    for i, other in enumerate(nodes):
        if other is node:
            list.pop(nodes, i)
            return
