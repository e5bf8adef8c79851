"""GraphSurgeon graphs as protos.

GraphSurgeon's exporter loads every value, copies outer initializers into subgraphs, cannot
write an empty list and recurses with its own idea of dtypes; this one asks `place` for each
tensor and otherwise writes what the graph and the source file say. Types of intermediate
tensors are left out: pruning changes them, and every runtime infers them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from onnx_graphsurgeon.ir.tensor import SparseValues

from onnxprune.core.errors import InternalError
from onnxprune.graph.header import Header
from onnxprune.graph.origin import (
    empty_attribute,
    graph_source,
    local_initializers,
    node_source,
    unheld_attributes,
)
from onnxprune.graph.sort import sorted_nodes
from onnxprune.graph.values import StoredValues, numpy_dtype, to_tensor

__all__ = ["Place", "export_model", "main_initializers"]

Place: TypeAlias = Callable[[str, "StoredValues | NDArray[Any]"], TensorProto]
"""Gives the TensorProto for a name and values: with the values inside, or saying where they lie."""

_FIRST_IR_WITHOUT_INITIALIZER_INPUTS = 4


def main_initializers(graph: gs.Graph) -> dict[str, gs.Constant]:
    """Returns the initializers of the main graph by name, in the order in which nodes read them.

    Raises:
        InternalError: when two initializers share a name.
    """
    found: dict[str, gs.Constant] = {}
    for constant in _reached(graph, frozenset()):
        if found.setdefault(constant.name, constant) is not constant:
            raise InternalError(f"two initializers are called {constant.name!r}")
    return found


def _reached(graph: gs.Graph, claimed: frozenset[str]) -> Iterator[gs.Constant]:
    """Yields the constants that a graph and its subgraphs read, those claimed by name aside."""
    for node in graph.nodes:
        for tensor in node.inputs:
            if isinstance(tensor, gs.Constant) and tensor.name not in claimed:
                yield tensor
        for value in node.attrs.values():
            if isinstance(value, gs.Graph):
                yield from _reached(value, claimed | local_initializers(value))
    for tensor in graph.outputs:
        if isinstance(tensor, gs.Constant) and tensor.name not in claimed:
            yield tensor


def export_model(graph: gs.Graph, header: Header, place: Place) -> onnx.ModelProto:
    """Returns a ModelProto.

    Args:
        graph: The main graph.
        header: What goes around it.
        place: Called once per initializer, in a fixed order.

    Raises:
        InternalError: when a node uses a domain that the header does not import, or two
            initializers share a name.
    """
    proto = header.to_proto()
    initializers = main_initializers(graph)
    _write_nodes(graph, proto.graph, header, place)
    _write_initializers(initializers, proto.graph, place)
    listed = header.ir_version < _FIRST_IR_WITHOUT_INITIALIZER_INPUTS
    proto.graph.input.extend(_inputs(graph, initializers, listed))
    proto.graph.output.extend(_value_infos(graph.outputs, graph_source(graph).output))
    return proto


def _write_nodes(graph: gs.Graph, proto: GraphProto, header: Header, place: Place) -> None:
    for node in sorted_nodes(graph.nodes):
        header.opset_of(node.domain)
        proto.node.append(_node(node, header, place))


def _write_initializers(constants: dict[str, gs.Constant], proto: GraphProto, place: Place) -> None:
    for name, constant in constants.items():
        if isinstance(constant._values, SparseValues):
            proto.sparse_initializer.append(constant._values.tensor)
        else:
            proto.initializer.append(place(name, constant._values))


def _node(node: gs.Node, header: Header, place: Place) -> NodeProto:
    source = node_source(node)
    proto = NodeProto(op_type=node.op, input=[t.name for t in node.inputs], output=[t.name for t in node.outputs])
    if node.name:
        proto.name = node.name
    if node.domain is not None:
        proto.domain = node.domain
    for name in ("doc_string", "overload"):
        if getattr(source, name):
            setattr(proto, name, getattr(source, name))
    proto.metadata_props.extend(source.metadata_props)
    proto.device_configurations.extend(source.device_configurations)
    for name, value in node.attrs.items():
        empty = isinstance(value, list | tuple) and not value
        proto.attribute.append(empty_attribute(source, name) if empty else _attribute(name, value, header, place))
    proto.attribute.extend(unheld_attributes(source))
    return proto


def _attribute(name: str, value: Any, header: Header, place: Place) -> AttributeProto:
    if isinstance(value, gs.Graph):
        return AttributeProto(name=name, type=AttributeProto.GRAPH, g=_subgraph(value, header, place))
    if isinstance(value, gs.Constant):
        # inside a node: onnxruntime reads external data of initializers only
        return helper.make_attribute(name, to_tensor(value.name, value._values))
    if isinstance(value, np.ndarray):
        return helper.make_attribute(name, numpy_helper.from_array(value))
    if isinstance(value, type | np.dtype):
        return helper.make_attribute(name, helper.np_dtype_to_tensor_dtype(np.dtype(value)))
    return helper.make_attribute(name, value)


def _subgraph(graph: gs.Graph, header: Header, place: Place) -> GraphProto:
    source, own = graph_source(graph), local_initializers(graph)
    proto = GraphProto(name=graph.name)
    if graph.doc_string:
        proto.doc_string = graph.doc_string
    proto.metadata_props.extend(source.metadata_props)
    _write_nodes(graph, proto, header, place)
    _write_initializers({c.name: c for c in _reached(graph, frozenset()) if c.name in own}, proto, place)
    proto.input.extend(_value_infos(graph.inputs, source.input))
    proto.output.extend(_value_infos(graph.outputs, source.output))
    return proto


def _inputs(graph: gs.Graph, initializers: dict[str, gs.Constant], list_all: bool) -> list[ValueInfoProto]:
    """Returns the inputs, with the initializers that the source lists among them in their places."""
    source = graph_source(graph).input
    waiting = _value_infos(graph.inputs, source)
    given = {info.name for info in waiting}
    infos: list[ValueInfoProto] = []
    for info in source:
        if info.name in initializers and info.name not in given:
            infos.extend(_value_infos([initializers[info.name]], [info]))
        elif waiting:
            infos.append(waiting.pop(0))
    infos.extend(waiting)
    if list_all:
        listed = {info.name for info in infos}
        infos.extend(_value_infos([c for name, c in initializers.items() if name not in listed], ()))
    return infos


def _value_infos(tensors: list[gs.Tensor], source: Any) -> list[ValueInfoProto]:
    known = {info.name: info for info in source}
    return [_value_info(tensor, known.get(tensor.name)) for tensor in tensors]


def _value_info(tensor: gs.Tensor, source: ValueInfoProto | None) -> ValueInfoProto:
    """Returns what the source says of a tensor, unless its dtype or shape changed since."""
    dtype = numpy_dtype(tensor.dtype) if _is_tensor(tensor) else None
    if source is not None and (dtype is None or _matches(source, dtype, tensor.shape)):
        return source
    if dtype is None:
        return ValueInfoProto(name=tensor.name)
    info = helper.make_tensor_value_info(tensor.name, helper.np_dtype_to_tensor_dtype(dtype), tensor.shape)
    if source is not None and source.doc_string:
        info.doc_string = source.doc_string
    return info


def _is_tensor(tensor: gs.Tensor) -> bool:
    return isinstance(tensor, gs.Constant) or tensor.type in (None, "tensor_type")


def _matches(source: ValueInfoProto, dtype: np.dtype[Any], shape: Any) -> bool:
    kind = source.type.tensor_type
    if numpy_dtype(kind.elem_type) != dtype or kind.HasField("shape") != (shape is not None):
        return False
    dims = [getattr(d, d.WhichOneof("value")) if d.WhichOneof("value") else None for d in kind.shape.dim]
    return dims == list(shape or ())
