"""What a fusion rule sees of the graph, and what it gives back.

A rule looks at one node, the last of its pattern, and walks up through producers. It may take
nodes whose results only the pattern itself reads: a tensor with another reader, or one that is
a graph output, must exist.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import onnx_graphsurgeon as gs

from onnxprune.bridge.roles import TensorRole, tensor_roles
from onnxprune.graph import Model
from onnxprune.graph.edit import subgraph_reads
from onnxprune.ops.base import attribute

__all__ = ["Fused", "Fusion", "GraphView"]


@dataclass(frozen=True)
class Fused:
    """Several nodes as one step.

    Attributes:
        nodes: The nodes it stands for, the last one first.
        inputs: Names of the tensors that `function` takes, in order.
        function: From these tensors to the output of the last node.
        plain: Places in `inputs` that may come as Python integers (`onnxprune.ops.plain_ints`).
        overwrites: Names of tensors that hold something else afterwards.
    """

    nodes: tuple[gs.Node, ...]
    inputs: tuple[str, ...]
    function: Callable[..., Any]
    plain: tuple[int, ...] = ()
    overwrites: tuple[str, ...] = ()


class GraphView:
    """Who computes and who reads a tensor."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._producers = {t.name: node for node in model.nodes for t in node.outputs if t.name}
        self._uses = Counter(t.name for node in model.nodes for t in node.inputs if t.name)
        self._uses.update(spec.name for spec in model.outputs())
        self._uses.update(subgraph_reads(model.graph))
        self._roles: Mapping[str, TensorRole] = tensor_roles(model)
        self._shapes = {name: tuple(int(s) for s in c.shape) for name, c in model.initializers().items()}

    def opset(self) -> int:
        """Returns the version of the standard operators."""
        return self._model.opset_of("")

    def producer(self, tensor: gs.Tensor, *ops: str) -> gs.Node | None:
        """Returns the node of one of the types `ops` that computes `tensor` for its one reader, or None."""
        node = self._producers.get(tensor.name)
        if node is None or node.op not in ops or (node.domain or "") not in ("", "ai.onnx"):
            return None
        alone = self._uses[tensor.name] == 1 and sum(bool(t.name) for t in node.outputs) == 1
        return node if alone else None

    def uses(self, tensor: gs.Tensor) -> int:
        """Returns how often nodes and graph outputs read a tensor."""
        return self._uses[tensor.name]

    def shape(self, tensor: gs.Tensor) -> tuple[int, ...] | None:
        """Returns the shape of an initializer, or None for another tensor."""
        return self._shapes.get(tensor.name)

    def is_weight(self, tensor: gs.Tensor) -> bool:
        """Returns whether a tensor is a parameter of the module."""
        return self._roles.get(tensor.name) == "weight"

    def number(self, tensor: gs.Tensor) -> float | None:
        """Returns the value of an initializer of one entry that is not trained, or None.

        One of two axes or more does not count: it may give the result more axes than the other operand has.
        """
        if self._roles.get(tensor.name) != "constant" or self._shapes[tensor.name] not in ((), (1,)):
            return None
        return float(self._model.read(tensor.name).reshape(-1)[0])

    def integers(self, node: gs.Node, name: str, slot: int) -> list[int] | None:
        """Returns constant integers of an attribute, or of an input in newer versions; None where there are none."""
        value = attribute(node, name)
        if value is None and slot < len(node.inputs) and node.inputs[slot].name in self._shapes:
            value = self._model.read(node.inputs[slot].name).reshape(-1).tolist()
        return None if value is None else [int(v) for v in value]

    def either(self, node: gs.Node, choose: Callable[[gs.Tensor, gs.Tensor], Any]) -> Any:
        """Returns what `choose` gives for the two inputs of `node` in one order or the other, None where neither."""
        a, b = node.inputs
        found = choose(a, b)
        return choose(b, a) if found is None else found


Fusion = Callable[[gs.Node, GraphView], Fused | None]
"""A rule: the last node of a pattern and the graph → the fused step, or None."""
