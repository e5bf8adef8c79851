"""The instruments of surgery: what a rule's `repair` may ask of a graph and change in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxprune.axes import Atom, Axis, keep_mask
from onnxprune.axes.keep import BoolArray
from onnxprune.graph import Model
from onnxprune.graph.edit import all_names, fresh_name, set_input
from onnxprune.groups.infer import Inference
from onnxprune.ops.base import AxisList, OldEntry, RunTimeSize, ShapePart

__all__ = ["Surgeon"]

_INT64 = np.dtype(np.int64)


class Surgeon:
    """What repairs ask and change (`Edit`), and how a node is set between other nodes.

    Args:
        model: The analysed model.
        slim: The copy under the knife.
        inference: Axes of every tensor of `model`.
        masks: Atom → keep mask; atoms that are absent stay whole.
    """

    def __init__(self, model: Model, slim: Model, inference: Inference, masks: Mapping[Atom, BoolArray]) -> None:
        self.opset = model.opset
        self._slim = slim
        self._inference = inference
        self._masks = masks
        self._readers = Counter(t.name for node in slim.nodes for t in node.inputs)
        self._readers.update(t.name for t in slim.graph.outputs)
        # by name once: asking the graph for each would walk it as often as there are reshapes
        self._tensors: dict[str, gs.Tensor] = slim.graph.tensors()
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
        self._put(node, slot, self.new_constant(f"{node.outputs[0].name}__{node.op.lower()}_{slot}", value))

    def new_constant(self, base: str, value: NDArray[np.generic]) -> gs.Constant:
        """Returns a new initializer, named `base` or near it."""
        return gs.Constant(fresh_name(base, self._names), value)

    def set_shape_input(self, node: gs.Node, slot: int, parts: Sequence[ShapePart]) -> None:
        """Makes an input of a node an int64 vector put together at run time."""
        base = f"{node.outputs[0].name}__shape"
        old = node.inputs[slot]
        entries: list[gs.Tensor] = []
        for part in parts:
            if isinstance(part, OldEntry):
                entries.append(self._entry(old, part.position, base))
            elif isinstance(part, RunTimeSize):
                sizes = self.add_node("Shape", [self._tensors[part.tensor]], base, _INT64)
                entries.append(self._entry(sizes, part.axis, base))
            else:
                entries.append(self.new_constant(base, np.array([part], dtype=np.int64)))
        self._put(node, slot, self.add_node("Concat", entries, base, _INT64, {"axis": 0}))

    def _entry(self, vector: gs.Tensor, position: int, base: str) -> gs.Tensor:
        index = self.new_constant(base, np.array([position], dtype=np.int64))
        return self.add_node("Gather", [vector, index], base, _INT64, {"axis": 0})

    def add_node(
        self,
        op: str,
        inputs: list[gs.Tensor],
        base: str,
        dtype: np.dtype[np.generic] | None,
        attrs: dict[str, object] | None = None,
    ) -> gs.Variable:
        """Adds a node of one output, named `base` or near it; the order of nodes is the exporter's."""
        output = gs.Variable(fresh_name(base, self._names), dtype=dtype)
        name = fresh_name(f"{base}_{op.lower()}", self._names)
        self._slim.graph.nodes.append(gs.Node(op, name, attrs or {}, inputs, [output]))
        return output

    def detach_output(self, node: gs.Node, slot: int, base: str) -> gs.Variable:
        """Gives a node a new tensor as output; what reads the old one waits for `give_name`."""
        old = node.outputs[slot]
        new = gs.Variable(fresh_name(base, self._names), dtype=old.dtype)
        list.__setitem__(node.outputs, slot, new)
        list.append(new.inputs, node)
        list.clear(old.inputs)
        return new

    @staticmethod
    def give_name(tensor: gs.Variable, waiting: gs.Tensor) -> None:
        """Makes the node that gives `tensor` give `waiting` instead."""
        node = tensor.inputs[0]
        list.__setitem__(node.outputs, 0, waiting)
        list.append(waiting.inputs, node)
        list.clear(tensor.inputs)

    def _put(self, node: gs.Node, slot: int, tensor: gs.Tensor) -> None:
        while len(node.inputs) <= slot:
            node.inputs.append(gs.Variable.empty())
        set_input(node, slot, tensor)
