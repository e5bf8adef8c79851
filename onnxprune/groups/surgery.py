"""Removing channels: slices every initializer and rewrites what nodes bake in.

The plan is the only input besides the analysed model, and the same plan gives the same graph.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxprune.axes import Atom, Axis, keep_mask
from onnxprune.axes.keep import BoolArray
from onnxprune.core.plan import Plan
from onnxprune.graph import Model
from onnxprune.graph.edit import all_names, fresh_name, set_input
from onnxprune.groups.analysis import Analysis
from onnxprune.groups.masking import plan_masks, touched
from onnxprune.ops.base import AxisList, OldEntry, RunTimeSize, ShapePart

__all__ = ["prune"]


def prune(model: Model, analysis: Analysis, plan: Plan) -> Model:
    """Returns a copy of `model` without the channels that `plan` drops.

    Args:
        model: The analysed model.
        analysis: Its analysis.
        plan: What is kept.
    """
    masks = plan_masks(analysis, plan)
    slim = model.copy()
    for name in model.initializers():
        axes = touched(analysis, masks, name)
        if axes:
            value = model.read(name)
            for position, keep in axes:
                value = np.compress(keep, value, axis=position)
            slim.replace(name, value)
    edit = _Surgeon(model, slim, analysis, masks)
    for node in list(slim.nodes):
        rule = analysis.inference.rule(node)
        if rule is not None:
            rule.repair(node, edit)
    return slim


class _Surgeon:
    """What repairs ask and change (`Edit`)."""

    def __init__(self, model: Model, slim: Model, analysis: Analysis, masks: Mapping[Atom, BoolArray]) -> None:
        self.opset = model.opset
        self._slim = slim
        self._inference = analysis.inference
        self._masks = masks
        self._readers = Counter(t.name for node in slim.nodes for t in node.inputs)
        self._readers.update(t.name for t in slim.graph.outputs)
        self._names = all_names(slim.graph) | {node.name for node in slim.nodes}

    def axes(self, name: str) -> AxisList:
        """Returns the axes of a tensor, before removal."""
        return self._inference.axes(name)

    def shape(self, name: str) -> tuple[int, ...]:
        """Returns a tensor's shape, before removal."""
        return self._inference.shape(name)

    def dynamic(self, name: str) -> tuple[bool, ...]:
        """Returns which axes are dynamic."""
        return self._inference.dynamic(name)

    def constant(self, name: str) -> NDArray[np.generic] | None:
        """Returns an initializer's value before removal, or None."""
        return self._inference.constant(name)

    def keep(self, axis: Axis) -> BoolArray:
        """Returns which indices of an axis stay."""
        return keep_mask(axis, self._masks)

    def noted(self, node: gs.Node, key: str) -> Axis | None:
        """Returns an axis that the axis rule noted, or None."""
        return self._inference.noted(node, key)

    def set_input(self, node: gs.Node, slot: int, value: NDArray[np.generic]) -> None:
        """Makes an input of a node a constant; a constant that only this node reads keeps its name."""
        old = node.inputs[slot] if slot < len(node.inputs) else None
        if isinstance(old, gs.Constant) and self._readers[old.name] == 1:
            self._slim.replace(old.name, value)
            return
        self._put(
            node, slot, gs.Constant(fresh_name(f"{node.outputs[0].name}__{node.op.lower()}_{slot}", self._names), value)
        )

    def set_shape_input(self, node: gs.Node, slot: int, parts: Sequence[ShapePart]) -> None:
        """Makes an input of a node an int64 vector put together at run time."""
        base = f"{node.outputs[0].name}__shape"
        old = node.inputs[slot]
        entries: list[gs.Tensor] = []
        for part in parts:
            if isinstance(part, OldEntry):
                entries.append(self._entry(node, old, part.position, base))
            elif isinstance(part, RunTimeSize):
                source = self._slim.graph.tensors()[part.tensor]
                sizes = self._add(node, "Shape", [source], base)
                entries.append(self._entry(node, sizes, part.axis, base))
            else:
                entries.append(gs.Constant(fresh_name(base, self._names), np.array([part], dtype=np.int64)))
        self._put(node, slot, self._add(node, "Concat", entries, base, {"axis": 0}))

    def _entry(self, node: gs.Node, vector: gs.Tensor, position: int, base: str) -> gs.Tensor:
        index = gs.Constant(fresh_name(base, self._names), np.array([position], dtype=np.int64))
        return self._add(node, "Gather", [vector, index], base, {"axis": 0})

    def _add(
        self, before: gs.Node, op: str, inputs: list[gs.Tensor], base: str, attrs: dict[str, int] | None = None
    ) -> gs.Tensor:
        """Inserts a node that gives an int64 vector, ahead of `before`."""
        output = gs.Variable(fresh_name(base, self._names), dtype=np.dtype(np.int64))
        node = gs.Node(op, fresh_name(f"{base}_{op.lower()}", self._names), attrs or {}, inputs, [output])
        place = next(i for i, other in enumerate(self._slim.graph.nodes) if other is before)
        self._slim.graph.nodes.insert(place, node)
        return output

    def _put(self, node: gs.Node, slot: int, tensor: gs.Tensor) -> None:
        while len(node.inputs) <= slot:
            node.inputs.append(gs.Variable.empty())
        set_input(node, slot, tensor)
