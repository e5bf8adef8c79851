"""The model that every stage works on: a GraphSurgeon graph, its header, and unread weights."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxprune.core.errors import InternalError, ModelError
from onnxprune.graph.clone import clone_graph
from onnxprune.graph.export import export_model, main_initializers
from onnxprune.graph.header import Header
from onnxprune.graph.skeleton import Skeleton, skeleton_of
from onnxprune.graph.sort import sorted_nodes
from onnxprune.graph.values import Values, byte_size, numpy_dtype, read_values, to_tensor

__all__ = ["MAX_EMBEDDED_BYTES", "Model", "TensorSpec", "tensor_spec"]

MAX_EMBEDDED_BYTES = 1_900_000_000
"""Weights above this go into a data file; protobuf ends at 2**31 bytes for the whole model."""


@dataclass(frozen=True)
class TensorSpec:
    """What a graph input or output is.

    Attributes:
        name: Name of the tensor.
        dtype: Element type, None where the file does not say or it is no tensor.
        shape: Dimensions: an int, the name of a dynamic dimension, or None for one without a
            name; None in place of the tuple where the file does not say.
    """

    name: str
    dtype: np.dtype[Any] | None
    shape: tuple[int | str | None, ...] | None


def tensor_spec(tensor: gs.Tensor) -> TensorSpec:
    """Returns what is known of a tensor."""
    if isinstance(tensor, gs.Variable) and tensor.type not in (None, "tensor_type"):
        return TensorSpec(tensor.name, None, None)
    return TensorSpec(tensor.name, numpy_dtype(tensor.dtype), _dimensions(tensor.shape))


def _dimensions(shape: Any) -> tuple[int | str | None, ...] | None:
    if shape is None:
        return None
    return tuple(d if isinstance(d, str) and d else int(d) if isinstance(d, int) and d >= 0 else None for d in shape)


@dataclass
class Model:
    """A model under work.

    Shapes of intermediate tensors are those that the source file states: they serve to cut a
    graph at nodes whose output pruning never touches, and are left out of what is written.

    Attributes:
        graph: The graph. Initializers are `gs.Constant` tensors whose values are unread; read
            them with `read` and change them with `replace`, not through `Constant.values`,
            which would keep them in memory.
        header: Everything else the file says.
        path: The source file, None for a model that came from memory.
        sha256: Hash of the source file's bytes (of the serialized proto for a model from
            memory). External data is not part of it; its file names, offsets and lengths are.
        external_data: Whether the source keeps weights in data files.
        data_files: Those files.
    """

    graph: gs.Graph = field(repr=False)
    header: Header
    path: Path | None = None
    sha256: str = ""
    external_data: bool = False
    data_files: tuple[Path, ...] = field(default=(), repr=False)
    _index: dict[str, gs.Constant] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def opset(self) -> int:
        """Version of the default operator set."""
        return self.opset_of("")

    def opset_of(self, domain: str | None) -> int:
        """Returns the version of a domain's operator set.

        Raises:
            InternalError: when the model does not import the domain.
        """
        return self.header.opset_of(domain)

    @property
    def nodes(self) -> list[gs.Node]:
        """The main graph's nodes in topological order."""
        return sorted_nodes(self.graph.nodes)

    def initializers(self) -> dict[str, gs.Constant]:
        """Returns the main graph's initializers by name, in the order in which nodes read them.

        An initializer that nothing reads is not among them.
        """
        return main_initializers(self.graph)

    def read(self, name: str) -> NDArray[Any]:
        """Returns the values of an initializer, an array that the caller owns.

        Raises:
            InternalError: when there is no such initializer.
        """
        return read_values(self._constant(name)._values)

    def values(self, name: str) -> Values:
        """Returns the values of an initializer as they are kept, unread; they are not to be changed.

        Raises:
            InternalError: when there is no such initializer.
        """
        values: Values = self._constant(name)._values
        return values

    def replace(self, name: str, value: Values) -> None:
        """Gives an initializer new values of the same dtype; the shape may change.

        Args:
            name: The initializer.
            value: An array, which is copied, or values that are read when they are needed.

        Raises:
            InternalError: when there is no such initializer, or the dtype differs.
        """
        constant = self._constant(name)
        if value.dtype != constant.dtype:
            raise InternalError(f"initializer {name!r} holds {constant.dtype}, its new values are {value.dtype}")
        if not isinstance(value, np.ndarray):
            constant.values = value
            return
        kept = np.array(value, order="C")
        kept.flags.writeable = False  # copies of this model share the array
        constant.values = kept

    def copy(self) -> Model:
        """Returns a model with nodes and tensors of its own; unread weights are shared."""
        return Model(clone_graph(self.graph), self.header, self.path, self.sha256, self.external_data, self.data_files)

    def weight_bytes(self) -> int:
        """Returns the bytes of all initializers of the main graph."""
        return sum(byte_size(constant._values) for constant in self.initializers().values())

    def to_proto(self) -> onnx.ModelProto:
        """Returns the model as one self-contained ModelProto, weights embedded.

        Raises:
            ModelError: when the weights are too large for one protobuf message.
            InternalError: when a node uses a domain that the header does not import.
        """
        size = self.weight_bytes()
        if size > MAX_EMBEDDED_BYTES:
            raise ModelError(
                f"The weights take {size / 1e9:.2f} GB, and an ONNX file without external data holds at most 2 GB. "
                "Write the model to a file (save_model keeps the weights in a data file beside it) "
                "and work from that."
            )
        return export_model(self.graph, self.header, to_tensor)

    def skeleton(self) -> Skeleton:
        """Returns the model as a ModelProto in which large weights are left out.

        Raises:
            InternalError: when a node uses a domain that the header does not import.
        """
        return skeleton_of(self.graph, self.header)

    def inputs(self) -> tuple[TensorSpec, ...]:
        """Returns the graph's inputs in order; initializers listed as inputs are not among them."""
        return tuple(tensor_spec(tensor) for tensor in self.graph.inputs)

    def outputs(self) -> tuple[TensorSpec, ...]:
        """Returns the graph's outputs in order."""
        return tuple(tensor_spec(tensor) for tensor in self.graph.outputs)

    def node_count(self) -> int:
        """Returns the number of nodes of the main graph."""
        return len(self.graph.nodes)

    def fingerprint(self) -> str:
        """Returns a hash of the main graph's structure: nodes, wiring, shapes of initializers.

        It is the same before writing and after reading, whatever the order of edits.
        """
        digest = hashlib.sha256()
        for node in self.nodes:
            names = [t.name for t in node.inputs] + ["->"] + [t.name for t in node.outputs]
            digest.update(f"{node.op} {node.name} {' '.join(names)}\n".encode())
        for name, constant in sorted(self.initializers().items()):
            digest.update(f"{name} {tuple(constant.shape)}\n".encode())
        return digest.hexdigest()

    def with_header(self, header: Header) -> Model:
        """Returns the same graph under another header."""
        return Model(self.graph, header, self.path, self.sha256, self.external_data, self.data_files)

    def _constant(self, name: str) -> gs.Constant:
        found = self._index.get(name)
        if not isinstance(found, gs.Constant) or found.name != name or not found.outputs:
            self._index = self.initializers()
            if name not in self._index:
                raise InternalError(f"the graph has no initializer {name!r}")
        return self._index[name]
