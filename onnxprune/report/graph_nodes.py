"""Which operators a drawing of a graph shows, and which of them share a box.

What computes shapes is left out, and so are constants. An operator that nobody looks for goes into
the box of the operator before it where everything it reads comes from there and nothing else reads
that: a convolution, its normalisation and x · sigmoid(x) after them are one box.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import onnx_graphsurgeon as gs

from onnxprune.graph import Model, shape_derived
from onnxprune.graph.sort import node_reads

__all__ = ["NodeCluster", "node_clusters"]

_OUTSIDE = -1
"""Who reads an output of the graph."""


@dataclass(frozen=True)
class NodeCluster:
    """Operators that share a box.

    Attributes:
        nodes: The operators in order; the first alone reads what others give.
        reads: Tensors that the first reads and that the drawing shows.
        gives: Tensors that other boxes, or the graph's outputs, read.
    """

    nodes: tuple[gs.Node, ...]
    reads: tuple[str, ...]
    gives: tuple[str, ...]


@dataclass
class _Run:
    """Nodes on the way to a cluster, by place: `free` says whether they may go into another's box."""

    nodes: list[int]
    reads: frozenset[str]
    free: bool
    readers: set[int] = field(default_factory=set)


def node_clusters(model: Model, alone: Collection[str]) -> list[NodeCluster]:
    """Returns the boxes of a graph's operators, in topological order.

    Args:
        model: The graph.
        alone: First outputs of the nodes that do not go into another's box.
    """
    hidden = set(shape_derived(model))
    outputs = {t.name for t in model.graph.outputs}
    nodes = [n for n in model.nodes if any(t.name not in hidden or t.name in outputs for t in n.outputs if t.name)]
    given = {t.name for n in nodes for t in n.outputs if t.name} | {t.name for t in model.graph.inputs}
    reads = [frozenset(node_reads(n) & given) for n in nodes]
    readers: dict[str, set[int]] = {name: {_OUTSIDE} for name in outputs}
    for place, names in enumerate(reads):
        for name in names:
            readers.setdefault(name, set()).add(place)
    free = [n.outputs[0].name not in alone for n in nodes]
    return [_cluster(run, nodes, readers) for run in _runs(nodes, reads, readers, free)]


def _runs(
    nodes: Sequence[gs.Node],
    reads: Sequence[frozenset[str]],
    readers: Mapping[str, set[int]],
    free: Sequence[bool],
) -> list[_Run]:
    """Returns the nodes in runs, in the order of their first nodes."""
    runs: dict[int, _Run] = {}  # place of the first node → run
    home: dict[str, int] = {}  # tensor → the run that gives it
    for place, node in enumerate(nodes):
        before = sorted({home.get(name, _OUTSIDE) for name in reads[place]})
        if free[place] and _joins(place, before, runs, home):
            start = before[0]
            for other in map(runs.pop, before[1:]):
                runs[start].nodes += other.nodes
                runs[start].readers |= other.readers
                home |= {t.name: start for i in other.nodes for t in nodes[i].outputs}
        else:
            start = place
            runs[start] = _Run([], reads[place], free[place])
        runs[start].nodes.append(place)
        runs[start].readers |= {reader for t in node.outputs for reader in readers.get(t.name, ())}
        home |= {t.name: start for t in node.outputs}
    return [runs[first] for first in sorted(runs)]


def _joins(place: int, before: Sequence[int], runs: Mapping[int, _Run], home: Mapping[str, int]) -> bool:
    """Returns whether a node goes into the first of the runs that it reads, and the others with it."""
    if not before or before[0] == _OUTSIDE:
        return False
    base, others = runs[before[0]], [runs[first] for first in before[1:]]
    if not all(run.free and all(home.get(name) == before[0] for name in run.reads) for run in others):
        return False
    inside = {place, *base.nodes, *(i for run in others for i in run.nodes)}
    return all(run.readers <= inside for run in (base, *others))


def _cluster(run: _Run, nodes: Sequence[gs.Node], readers: Mapping[str, set[int]]) -> NodeCluster:
    members = sorted(run.nodes)
    given = (t.name for i in members for t in nodes[i].outputs)
    gives = tuple(name for name in given if readers.get(name, set()) - set(members))
    return NodeCluster(tuple(nodes[i] for i in members), tuple(sorted(run.reads)), gives)
