"""Copies of graphs: nodes and tensors anew, values shared.

GraphSurgeon's own copy loses the types of sequence tensors and what `origin` keeps beside the
nodes, and shares attribute lists between both graphs.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from onnxprune.graph.origin import carry_over

__all__ = ["clone_graph"]


def clone_graph(graph: gs.Graph) -> gs.Graph:
    """Returns a copy of a graph and its subgraphs; values of constants are shared, unread."""
    return _Clone().graph(graph)


class _Clone:
    def __init__(self) -> None:
        self._tensors: dict[int, gs.Tensor] = {}

    def graph(self, old: gs.Graph) -> gs.Graph:
        new = gs.Graph(
            nodes=[self._node(node) for node in old.nodes],
            inputs=[self._tensor(tensor) for tensor in old.inputs],
            outputs=[self._tensor(tensor) for tensor in old.outputs],
            name=old.name,
            doc_string=old.doc_string,
            opset=old.opset,
            import_domains=old.import_domains,
            producer_name=old.producer_name,
            producer_version=old.producer_version,
            functions=old.functions,
            ir_version=old.ir_version,
        )
        carry_over(old, new)
        return new

    def _node(self, old: gs.Node) -> gs.Node:
        attrs = {name: self._attribute(value) for name, value in old.attrs.items()}
        inputs = [self._tensor(tensor) for tensor in old.inputs]
        outputs = [self._tensor(tensor) for tensor in old.outputs]
        new = gs.Node(old.op, old.name, attrs, inputs, outputs, old.domain)
        carry_over(old, new)
        return new

    def _attribute(self, value: object) -> object:
        if isinstance(value, gs.Graph):
            return self.graph(value)
        return list(value) if isinstance(value, list) else value

    def _tensor(self, old: gs.Tensor) -> gs.Tensor:
        if id(old) not in self._tensors:
            self._tensors[id(old)] = _copy_tensor(old)
        return self._tensors[id(old)]


def _copy_tensor(old: gs.Tensor) -> gs.Tensor:
    if isinstance(old, gs.Constant):
        return gs.Constant(old.name, old._values, data_location=old.data_location, export_dtype=old._export_dtype)
    shape = list(old.shape) if isinstance(old.shape, list | tuple) else old.shape
    return gs.Variable(old.name, old.dtype, shape, old.type)
