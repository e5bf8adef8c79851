"""What a drawing of coupled groups shows: boxes, wires, and what is said when one points at them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from onnxprune.core.group import Role
from onnxprune.graph import Model
from onnxprune.groups import Analysis
from onnxprune.ops import describe
from onnxprune.report.graph_facts import GraphFacts
from onnxprune.report.graph_layers import Wiring
from onnxprune.report.graph_nodes import NodeCluster, node_clusters

__all__ = ["Box", "Drawing", "Wire", "draw_boxes"]

Kind = Literal["operator", "input", "output"]


@dataclass(frozen=True)
class Box:
    """A box of a drawing.

    Attributes:
        kind: What it stands for.
        titles: Operator types, in order; "input" or "output".
        name: Name of the first node, or of the tensor.
        reads: Numbers of the groups whose channels its weights contract, from 1.
        writes: Numbers of the groups whose channels its weights produce.
        stays: Whether it has parameters, and all of them stay.
        said: Lines of its tooltip.
    """

    kind: Kind
    titles: tuple[str, ...]
    name: str
    reads: tuple[int, ...] = ()
    writes: tuple[int, ...] = ()
    stays: bool = False
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wire(Wiring):
    """A tensor on its way from one box to others.

    Attributes:
        groups: Numbers of the groups whose channels it carries.
        said: What its tooltip says.
    """

    groups: tuple[int, ...] = ()
    said: str = ""


@dataclass(frozen=True)
class Drawing:
    """Boxes and wires.

    Attributes:
        boxes: The boxes, the graph's inputs first, in an order in which every wire runs forward.
        wires: The wires.
        inputs: How many boxes are inputs of the graph.
    """

    boxes: tuple[Box, ...]
    wires: tuple[Wire, ...]
    inputs: int


def draw_boxes(model: Model, analysis: Analysis) -> Drawing:
    """Returns what a drawing of a model's coupled groups shows.

    Args:
        model: The graph that was analysed.
        analysis: Its groups and frozen channels.
    """
    facts = GraphFacts(analysis)
    clusters = node_clusters(model, {n.outputs[0].name for n in model.nodes if facts.stands_alone(n)})
    read = {name for cluster in clusters for name in cluster.reads}
    outputs = [t.name for t in model.graph.outputs]
    inputs = [t.name for t in model.graph.inputs if t.name in {*read, *outputs}]
    boxes = [_end("input", name, facts) for name in inputs]
    boxes += [_box(cluster, facts) for cluster in clusters]
    boxes += [_end("output", name, facts) for name in outputs]
    givers = [*((name,) for name in inputs), *(cluster.gives for cluster in clusters)]
    takers = [*(() for _ in inputs), *(cluster.reads for cluster in clusters), *((name,) for name in outputs)]
    return Drawing(tuple(boxes), tuple(_wires(facts, givers, takers)), len(inputs))


def _wires(facts: GraphFacts, givers: Sequence[tuple[str, ...]], takers: Sequence[tuple[str, ...]]) -> Iterator[Wire]:
    """Yields the wires, given which tensors each box gives and takes."""
    ends: dict[str, list[int]] = {}
    for place, names in enumerate(takers):
        for name in names:
            ends.setdefault(name, []).append(place)
    for source, names in enumerate(givers):
        for name in names:
            yield Wire(source, tuple(ends[name]), facts.carried(name), facts.tensor(name))


def _end(kind: Kind, name: str, facts: GraphFacts) -> Box:
    return Box(kind, (kind,), name, said=(facts.tensor(name), *facts.keeps(f"{kind} '{name}' of the model")))


def _box(cluster: NodeCluster, facts: GraphFacts) -> Box:
    said: list[str] = []
    for node in cluster.nodes:
        said += [describe(node), *(f"  {line}" for line in facts.of_node(node))]
    said += [f"gives {facts.tensor(name)}" for name in cluster.gives]
    reads, writes = _numbers(cluster, facts, "consumer"), _numbers(cluster, facts, "producer")
    open_ = any(facts.carried(name) for node in cluster.nodes for name in facts.parameters(node))
    return Box(
        kind="operator",
        titles=tuple(str(node.op) for node in cluster.nodes),
        name=str(cluster.nodes[0].name or cluster.nodes[0].outputs[0].name),
        reads=reads,
        writes=writes,
        stays=not open_ and any(facts.parameters(node) for node in cluster.nodes),
        said=tuple(said),
    )


def _numbers(cluster: NodeCluster, facts: GraphFacts, role: Role) -> tuple[int, ...]:
    return tuple(dict.fromkeys(number for node in cluster.nodes for number in facts.numbers(node, role)))
