"""First sweep: every operator equates and refines the axes it touches.

Nodes are visited in topological order. An operator without a rule, or one that reads a tensor
of unknown shape, freezes all it touches; so do the bodies of control flow, for what they read
from outside.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxprune.axes import Atom, Axis, leaves, pin
from onnxprune.core.errors import InternalError
from onnxprune.graph import Model
from onnxprune.graph.sort import node_reads
from onnxprune.groups.shapes import ConcreteShapes
from onnxprune.ops import OpRule, describe, find_rule
from onnxprune.ops.base import AxisList

__all__ = ["Inference"]


class Inference:
    """The axes of every tensor of a graph; implements what axis rules ask (`AxisContext`).

    Attributes:
        model: The graph.
        shapes: Shapes from the concrete runs.
        exact: Whether axes that only approximate removal reaches are pinned.
        unknown: Operator types without a rule → number of nodes.
    """

    def __init__(self, model: Model, shapes: ConcreteShapes, exact: bool = True) -> None:
        self.model = model
        self.shapes = shapes
        self.exact = exact
        self.unknown: Counter[str] = Counter()
        self._axes: dict[str, AxisList] = {}
        self._notes: dict[tuple[str, str], Axis] = {}
        self._initializers = model.initializers()
        self._constants: dict[str, NDArray[np.generic]] = {}
        self._run()

    def axes(self, name: str) -> AxisList:
        """Returns the axes of a tensor; none for one of unknown shape."""
        return self._axes.get(name, [])

    def known(self, name: str) -> bool:
        """Returns whether the tensor's axes are known."""
        return name in self._axes

    def shape(self, name: str) -> tuple[int, ...]:
        """Returns the shape seen in the first run."""
        return self.shapes.first[name]

    def dynamic(self, name: str) -> tuple[bool, ...]:
        """Returns which axes are dynamic."""
        return self.shapes.dynamic(name)

    def constant(self, name: str) -> NDArray[np.generic] | None:
        """Returns an initializer's value, or None where the tensor is computed."""
        if name not in self._initializers:
            return None
        if name not in self._constants:
            self._constants[name] = self.model.read(name)
        return self._constants[name]

    def note(self, node: gs.Node, key: str, axis: Axis) -> None:
        """Remembers an axis that no tensor carries."""
        self._notes[node.outputs[0].name, key] = axis

    def noted(self, node: gs.Node, key: str) -> Axis | None:
        """Returns a remembered axis, or None."""
        return self._notes.get((node.outputs[0].name, key))

    def rule(self, node: gs.Node) -> OpRule | None:
        """Returns the rule that was applied to a node, or None where it was frozen."""
        if any(t.name and not self.known(t.name) for t in [*node.inputs, *node.outputs]):
            return None
        return find_rule(node.domain, node.op, self.model.opset_of(node.domain or ""))

    def _run(self) -> None:
        for tensor in self.model.graph.inputs:
            if tensor.name in self.shapes.first:
                self._axes[tensor.name] = [
                    Atom(n, f"input '{tensor.name}' of the model") for n in self.shape(tensor.name)
                ]
        for name, constant in self._initializers.items():
            self._axes[name] = [Atom(int(n)) for n in constant.shape]
        for node in self.model.nodes:
            self._visit(node)
        for tensor in self.model.graph.outputs:
            for axis in self.axes(tensor.name):
                pin(axis, f"output '{tensor.name}' of the model")

    def _visit(self, node: gs.Node) -> None:
        missing = [t.name for t in node.inputs if t.name and not self.known(t.name)]
        shaped = all(t.name in self.shapes.first for t in node.outputs if t.name)
        rule = find_rule(node.domain, node.op, self.model.opset_of(node.domain or ""))
        if missing:
            self._freeze(node, f"{describe(node)} reads '{missing[0]}', whose shape is not known")
        elif rule is None:
            self.unknown[f"{node.domain}::{node.op}" if node.domain else node.op] += 1
            self._freeze(node, f"{describe(node)} has no axis rule")
        elif not shaped:
            self._freeze(node, f"{describe(node)} gives a tensor whose shape is not known")
        else:
            self._apply(node, rule)

    def _apply(self, node: gs.Node, rule: OpRule) -> None:
        for tensor, axes in zip(node.outputs, rule.axes(node, self), strict=False):
            if not tensor.name:
                continue
            found = tuple(axis.size for axis in axes)
            if found != self.shape(tensor.name):
                raise InternalError(
                    f"The axis rule of {describe(node)} gives '{tensor.name}' the shape {found}; "
                    f"the concrete run gave {self.shape(tensor.name)}."
                )
            self._axes[tensor.name] = axes
        if rule.statistics:
            self._pin_beside_dynamic(node)

    def _pin_beside_dynamic(self, node: gs.Node) -> None:
        """Keeps channels that share an axis with a dynamic size: no constant list picks those that a twin keeps."""
        for tensor in node.inputs:
            moves = self.dynamic(tensor.name) if tensor.name in self.shapes.first else ()
            for axis, dynamic in zip(self.axes(tensor.name), moves, strict=False):
                atoms = leaves(axis) if dynamic else []
                for atom in atoms if len(atoms) > 1 else ():
                    if atom.soft:
                        atom.add_reasons((f"{describe(node)} takes statistics over it and a dynamic size at once",))

    def _freeze(self, node: gs.Node, reason: str) -> None:
        for name in sorted(node_reads(node)):
            for axis in self.axes(name):
                pin(axis, reason)
        for tensor in node.outputs:
            if tensor.name in self.shapes.first:
                self._axes[tensor.name] = [Atom(n, reason) for n in self.shape(tensor.name)]
