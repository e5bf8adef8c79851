"""What the analysis says of the nodes and tensors of a drawing, in the words of its tooltips."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from onnxprune.axes import leaves
from onnxprune.core.group import Group, Member, Role
from onnxprune.graph import is_weight
from onnxprune.groups import Analysis, node_label
from onnxprune.ops import describe

__all__ = ["GraphFacts"]

_VERBS: dict[Role, str] = {"producer": "writes", "consumer": "reads", "vector": "scales or shifts", "opaque": "holds"}
_MOST_LINES = 4


class GraphFacts:
    """Look-ups into an analysis.

    Args:
        analysis: Groups are numbered from 1, in its order.
    """

    def __init__(self, analysis: Analysis) -> None:
        self._inference = analysis.inference
        self._initializers = analysis.inference.model.initializers()
        self._groups = dict(enumerate(analysis.groups, start=1))
        numbers = {group.name: number for number, group in self._groups.items()}
        self._numbers = {atom: numbers[name] for name, atom in analysis.atoms.items()}
        self._members: dict[str, list[tuple[int, Member]]] = {}
        for number, group in self._groups.items():
            for member in group.members:
                self._members.setdefault(member.node, []).append((number, member))
        self._frozen: dict[str, dict[str, None]] = {}
        self._pins: dict[str, list[str]] = {}
        for axis in analysis.frozen:
            for member in axis.members:
                lines = self._frozen.setdefault(member.node, {})
                lines |= {f"{axis.size} channels stay: {chain}": None for chain in axis.chains}
            for reason in axis.reasons:
                self._pins.setdefault(reason, []).append(f"{axis.size} channels of {axis.name}")

    def stands_alone(self, node: gs.Node) -> bool:
        """Returns whether a node is one that people look for: it has weights, takes statistics or keeps channels."""
        label, rule = node_label(node), self._inference.rule(node)
        weights = any(member.role != "vector" for _, member in self._members.get(label, ()))
        if weights or label in self._frozen or rule is None or rule.statistics:
            return True
        return any(reason.startswith(describe(node)) for reason in self._pins)

    def numbers(self, node: gs.Node, role: Role) -> list[int]:
        """Returns the numbers of the groups that a node's weights run over in a role, each once."""
        found = (number for number, member in self._members.get(node_label(node), ()) if member.role == role)
        return list(dict.fromkeys(found))

    def carried(self, tensor: str) -> tuple[int, ...]:
        """Returns the numbers of the groups whose channels a tensor carries, in the order of its axes."""
        atoms = (atom for axis in self._inference.axes(tensor) for atom in leaves(axis))
        return tuple(dict.fromkeys(self._numbers[atom] for atom in atoms if atom in self._numbers))

    def parameters(self, node: gs.Node) -> list[str]:
        """Returns the weights that a node reads, without scalars."""
        names = dict.fromkeys(t.name for t in node.inputs if t.name in self._initializers)
        found = ((name, self._initializers[name]) for name in names)
        return [name for name, constant in found if is_weight(constant) and max(constant.shape, default=1) > 1]

    def tensor(self, name: str) -> str:
        """Returns a tensor's name and shape, "?" for dynamic sizes."""
        shapes = self._inference.shapes
        if name not in shapes.first:
            return name
        sizes = zip(shapes.first[name], shapes.dynamic(name), strict=True)
        return f"{name} [{', '.join('?' if dynamic else str(size) for size, dynamic in sizes)}]"

    def of_node(self, node: gs.Node) -> list[str]:
        """Returns what is said of a node: its groups, what stays of it and why, what it keeps."""
        label = node_label(node)
        lines = [_member_line(number, self._groups[number], member) for number, member in self._members.get(label, ())]
        lines += self.keeps(describe(node))
        lines += self._frozen.get(label, self._vectors(node) if not lines else {})
        return _short(list(dict.fromkeys(lines)))

    def keeps(self, label: str) -> list[str]:
        """Returns what the node, input or output that reasons name so keeps from being pruned."""
        found = [
            f"keeps {what}: {why}" for why, all_of in self._pins.items() if why.startswith(label) for what in all_of
        ]
        return _short(found)

    def _vectors(self, node: gs.Node) -> dict[str, None]:
        """Returns why the channels of parameters stay that are not weights of their own."""
        axes = (axis for name in self.parameters(node) for axis in self._inference.axes(name))
        atoms = (atom for axis in axes for atom in leaves(axis) if atom.size > 1)
        return {f"{atom.size} channels stay: {reason}": None for atom in atoms for reason in list(atom.reasons)[:1]}


def _member_line(number: int, group: Group, member: Member) -> str:
    return f"{_VERBS[member.role]} group {number} ({group.name}, {group.size} channels)"


def _short(lines: list[str]) -> list[str]:
    rest = len(lines) - _MOST_LINES
    return [*lines[:_MOST_LINES], f"… and {rest} more"] if rest > 1 else lines
