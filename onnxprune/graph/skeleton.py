"""A model as a ModelProto without its large weights.

Whoever only asks about nodes and types need not read gigabytes, and whoever runs a model part
after part fills in the weights of one part at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto

from onnxprune.graph.export import export_model
from onnxprune.graph.header import Header
from onnxprune.graph.values import StoredValues, byte_size, tensor_header, to_tensor

__all__ = ["Skeleton", "skeleton_of"]

_LARGE_BYTES = 1024


@dataclass(frozen=True)
class Skeleton:
    """A model whose large weights are left out.

    Attributes:
        proto: The model, nodes in topological order. A weight that was left out has its type and
            shape, and external data whose location is its key in `weights`.
        weights: Key → the values, unread.
    """

    proto: onnx.ModelProto
    weights: Mapping[str, StoredValues | NDArray[Any]]

    def size(self, tensor: TensorProto) -> int:
        """Returns the bytes of an initializer's values that were left out, 0 when they are in it."""
        key = _key(tensor)
        return 0 if key is None else byte_size(self.weights[key])

    def filled(
        self, tensor: TensorProto, place: Callable[[str, StoredValues | NDArray[Any]], TensorProto]
    ) -> TensorProto:
        """Returns an initializer with its values, placed by `place` where they were left out."""
        key = _key(tensor)
        return tensor if key is None else place(tensor.name, self.weights[key])

    def fill(self, graph: GraphProto, place: Callable[[str, StoredValues | NDArray[Any]], TensorProto]) -> None:
        """Gives the initializers of a graph and its subgraphs their values, in place."""
        for tensor in _inner(graph):
            tensor.CopyFrom(self.filled(tensor, place))

    @staticmethod
    def inner_tensors(node: NodeProto) -> Iterator[TensorProto]:
        """Yields the initializers of a node's subgraphs, nested ones included."""
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from _inner(attribute.g)


def _inner(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        yield from Skeleton.inner_tensors(node)


def _key(tensor: TensorProto) -> str | None:
    return tensor.external_data[0].value if tensor.data_location == TensorProto.EXTERNAL else None


def skeleton_of(graph: gs.Graph, header: Header) -> Skeleton:
    """Returns the skeleton of a model; see `Skeleton`.

    Raises:
        InternalError: when a node uses a domain that the header does not import.
    """
    weights: dict[str, StoredValues | NDArray[Any]] = {}

    def place(name: str, values: StoredValues | NDArray[Any]) -> TensorProto:
        if byte_size(values) < _LARGE_BYTES or values.dtype == object:
            return to_tensor(name, values)
        proto = tensor_header(name, values)
        proto.data_location = TensorProto.EXTERNAL
        key = f"{len(weights)}"  # subgraphs may use one name for several tensors
        proto.external_data.add(key="location", value=key)
        weights[key] = values
        return proto

    return Skeleton(export_model(graph, header, place), weights)
