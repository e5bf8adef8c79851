"""The analysis of a graph: coupled groups, frozen channels with reasons, cost polynomials."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxprune.axes import Atom, Axis, Poly, Prod, resolve, size_polynomial
from onnxprune.core.group import FrozenAxis, Group, Member, Role
from onnxprune.graph import Model, is_weight
from onnxprune.groups.chains import Chains
from onnxprune.groups.infer import Inference
from onnxprune.groups.settle import MaskSweep
from onnxprune.groups.shapes import ConcreteShapes
from onnxprune.ops import find_rule

__all__ = ["Analysis", "analyse", "channel_labels", "node_label"]


@dataclass(frozen=True)
class Analysis:
    """What can go, what must stay, and what everything costs.

    Attributes:
        groups: Prunable groups, in graph order.
        frozen: Channels of weights that stay, with reasons.
        macs: MACs of one input sample, as a polynomial in kept counts.
        node_macs: Node label → its share of `macs`.
        params: Number of parameters, likewise.
        initializer_params: Initializer → its share of `params`.
        tensor_elements: Computed tensor of known shape → elements of one input sample, likewise.
        unknown_ops: Operator types without a rule → number of nodes.
        inference: Axes of every tensor.
        atoms: Group name → its atom.
        fills: Initializer → what its masked slices hold; floats hold zero where absent.
    """

    groups: tuple[Group, ...]
    frozen: tuple[FrozenAxis, ...]
    macs: Poly
    node_macs: Mapping[str, Poly]
    params: Poly
    initializer_params: Mapping[str, Poly]
    tensor_elements: Mapping[str, Poly]
    unknown_ops: Mapping[str, int]
    inference: Inference = field(repr=False)
    atoms: Mapping[str, Atom] = field(repr=False)
    fills: Mapping[str, float] = field(repr=False)

    @property
    def sizes(self) -> dict[str, int]:
        """Group name → number of channels."""
        return {group.name: group.size for group in self.groups}

    def labels(self, group: str, member: Member) -> NDArray[np.int64]:
        """Returns which channel of `group` each position of a member's axis belongs to.

        Returns:
            int64 [axis size]; -1 where the position belongs to none.
        """
        return channel_labels(self.inference.axes(member.initializer)[member.axis], self.atoms[group])

    def member_nodes(self, group: Group) -> tuple[str, ...]:
        """Returns the names of the nodes a group runs through, each once."""
        return tuple(dict.fromkeys(m.node for m in group.members))


def node_label(node: gs.Node) -> str:
    """Returns a node's name, or its first output's where it has none."""
    return str(node.name or node.outputs[0].name)


def channel_labels(axis: Axis, atom: Atom) -> NDArray[np.int64]:
    """Returns, for each position of `axis`, the channel of `atom` it belongs to, or -1."""
    axis = resolve(axis)
    if isinstance(axis, Atom):
        return np.arange(axis.size) if axis is atom else np.full(axis.size, -1)
    parts = [channel_labels(part, atom) for part in axis.parts]
    if not isinstance(axis, Prod):
        return np.concatenate(parts)
    flat = parts[0]
    for part in parts[1:]:
        outer, inner = np.broadcast_arrays(flat[:, None], part[None, :])
        flat = np.where(outer >= 0, outer, inner).reshape(-1)
    return flat


def analyse(model: Model, shapes: ConcreteShapes, *, approximate: bool = False) -> Analysis:
    """Returns the analysis of a model.

    Args:
        model: The graph, constants folded.
        shapes: Shapes of every tensor from concrete runs.
        approximate: Whether channels may go over which an operator takes statistics, such as the
            width that LayerNormalization normalises; their groups say so.
    """
    inference = Inference(model, shapes, exact=not approximate)
    sweep = MaskSweep(inference)
    members, widest = _members(inference)
    named = _name_groups({a: m for a, m in members.items() if not a.pinned and a.size > 1})
    groups = tuple(
        Group(name, atom.size, tuple(members[atom]), widest[atom], "; ".join(atom.soft)) for name, atom in named.items()
    )
    names = {atom: name for name, atom in named.items()}

    def variable(atom: Atom) -> Poly:
        return Poly.variable(names[atom]) if atom in names else Poly.constant(atom.size)

    counter = _Counter(inference, variable)
    node_macs = counter.node_macs()
    initializer_params = counter.initializer_params()
    return Analysis(
        groups=groups,
        frozen=_frozen(members, inference),
        macs=Poly.sum(list(node_macs.values())),
        node_macs=node_macs,
        params=Poly.sum(list(initializer_params.values())),
        initializer_params=initializer_params,
        tensor_elements=counter.tensor_elements(),
        unknown_ops=dict(inference.unknown),
        inference=inference,
        atoms=named,
        fills=dict(sweep.fills),
    )


def _members(inference: Inference) -> tuple[dict[Atom, list[Member]], dict[Atom, int]]:
    """Every atom that runs through an initializer → where, in graph order; and its most copies on one axis."""
    found: dict[Atom, list[Member]] = {}
    widest: dict[Atom, int] = {}
    initializers = inference.model.initializers()
    for node in inference.model.nodes:
        rule = find_rule(node.domain, node.op, inference.model.opset_of(node.domain or ""))
        for slot, tensor in enumerate(node.inputs):
            if tensor.name not in initializers:
                continue
            axes = inference.axes(tensor.name)
            for position, axis in enumerate(axes):
                role = rule.role(node, slot, position, len(axes)) if rule is not None else _opaque(len(axes))
                member = Member(tensor.name, position, role, node.op, node_label(node), slot)
                for atom, copies in _copies(axis).items():
                    found.setdefault(atom, []).append(member)
                    widest[atom] = max(widest.get(atom, 1), copies)
    return found, widest


def _opaque(rank: int) -> Role:
    return "opaque" if rank > 1 else "vector"


def _first_node(members: list[Member]) -> str:
    producers = [m for m in members if m.role == "producer"]
    return (producers or members)[0].node


def _name_groups(members: Mapping[Atom, list[Member]]) -> dict[str, Atom]:
    named: dict[str, Atom] = {}
    for atom, found in members.items():
        base = name = _first_node(found)
        count = 1
        while name in named:
            count += 1
            name = f"{base}#{count}"
        named[name] = atom
    return named


def _copies(axis: Axis) -> dict[Atom, int]:
    """Returns atom → how many positions of `axis` each of its channels takes, in the order of the axis."""
    axis = resolve(axis)
    if isinstance(axis, Atom):
        return {axis: 1}
    found: dict[Atom, int] = {}
    for part in axis.parts:
        around = axis.size // part.size if isinstance(axis, Prod) and part.size else 1
        for atom, count in _copies(part).items():
            found[atom] = found.get(atom, 0) + count * around
    return found


def _frozen(members: Mapping[Atom, list[Member]], inference: Inference) -> tuple[FrozenAxis, ...]:
    frozen = []
    chains = Chains(inference)
    for atom, found in members.items():
        weights = tuple(m for m in found if m.role != "vector")
        if atom.pinned and atom.size > 1 and weights:
            reasons = tuple(atom.reasons)
            ways = chains.explain(atom, weights, reasons)
            frozen.append(FrozenAxis(_first_node(found), atom.size, weights, reasons, ways))
    return tuple(frozen)


class _Counter:
    """Counts MACs and parameters (`SizeContext` of the rules)."""

    def __init__(self, inference: Inference, variable: Callable[[Atom], Poly]) -> None:
        self._inference = inference
        self._variable = variable

    def sizes(self, name: str) -> list[Poly]:
        """Returns the size of each axis of a tensor."""
        return [size_polynomial(axis, self._variable) for axis in self._inference.axes(name)]

    def noted(self, node: gs.Node, key: str) -> Poly:
        """Returns the size of an axis that the axis rule noted."""
        axis = self._inference.noted(node, key)
        return Poly.constant(1) if axis is None else size_polynomial(axis, self._variable)

    def has_note(self, node: gs.Node, key: str) -> bool:
        """Returns whether the axis rule noted an axis under `key`."""
        return self._inference.noted(node, key) is not None

    def node_macs(self) -> dict[str, Poly]:
        """Returns node label → MACs of one sample, for nodes that have any."""
        found: dict[str, Poly] = {}
        for node in self._inference.model.nodes:
            rule = self._inference.rule(node)
            macs = rule.macs(node, self) if rule is not None else Poly.constant(0)
            if macs.terms:
                label = node_label(node)
                if label in found:
                    label = f"{label} -> {node.outputs[0].name}"
                found[label] = macs * (1.0 / self._inference.shapes.batch)
        return found

    def initializer_params(self) -> dict[str, Poly]:
        """Returns initializer that holds weights → number of elements."""
        return {
            name: Poly.product(self.sizes(name))
            for name, constant in self._inference.model.initializers().items()
            if is_weight(constant)
        }

    def tensor_elements(self) -> dict[str, Poly]:
        """Returns computed tensor → number of elements of one sample."""
        share = 1.0 / self._inference.shapes.batch
        return {
            tensor.name: Poly.product(self.sizes(tensor.name)) * share
            for node in self._inference.model.nodes
            for tensor in node.outputs
            if self._inference.known(tensor.name)
        }
