"""What an ONNX file says beside its graph; GraphSurgeon would drop most of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx

from onnxprune.core.errors import InternalError

__all__ = ["Header", "header_of"]


@dataclass(frozen=True)
class Header:
    """The fields of a model file, graph and weights aside.

    Attributes:
        ir_version: Version of the file format; kept, as runtimes lag behind the newest.
        opset_imports: Domain → version of its operator set, in the file's order.
        producer_name: Name of the tool that wrote the file.
        producer_version: Its version.
        domain: Namespace of the model.
        model_version: Version of the model itself.
        doc_string: Description of the model.
        metadata: The model's own key-value pairs.
        functions: Model-local functions.
        graph_name: Name of the main graph.
        graph_doc: Description of the main graph.
        rest: What has no field above (training info, device configurations, the graph's own
            metadata), as a ModelProto without nodes and weights.
    """

    ir_version: int
    opset_imports: Mapping[str, int]
    producer_name: str = ""
    producer_version: str = ""
    domain: str = ""
    model_version: int = 0
    doc_string: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    functions: tuple[onnx.FunctionProto, ...] = ()
    graph_name: str = "graph"
    graph_doc: str = ""
    rest: onnx.ModelProto | None = field(default=None, repr=False, compare=False)

    def opset_of(self, domain: str | None) -> int:
        """Returns the version of a domain's operator set.

        Raises:
            InternalError: when the model does not import the domain.
        """
        names = ("", "ai.onnx") if domain in (None, "", "ai.onnx") else (domain,)
        for name in names:
            if name in self.opset_imports:
                return self.opset_imports[name]
        raise InternalError(f"the model does not import the operator domain {domain!r}")

    def to_proto(self) -> onnx.ModelProto:
        """Returns a ModelProto with everything but nodes, inputs, outputs and weights."""
        proto = onnx.ModelProto()
        if self.rest is not None:
            proto.CopyFrom(self.rest)
        proto.ir_version = self.ir_version
        proto.opset_import.extend(onnx.helper.make_opsetid(d, v) for d, v in self.opset_imports.items())
        for name in ("producer_name", "producer_version", "domain", "model_version", "doc_string"):
            if getattr(self, name):
                setattr(proto, name, getattr(self, name))
        proto.metadata_props.extend(
            onnx.StringStringEntryProto(key=key, value=value) for key, value in self.metadata.items()
        )
        proto.functions.extend(self.functions)
        proto.graph.name = self.graph_name
        if self.graph_doc:
            proto.graph.doc_string = self.graph_doc
        return proto


_GRAPH_HEAVY = ("node", "initializer", "sparse_initializer", "value_info", "input", "output", "name", "doc_string")


def header_of(proto: onnx.ModelProto) -> Header:
    """Returns the header of a ModelProto, which is left as it is."""
    rest = onnx.ModelProto()
    for descriptor, value in proto.ListFields():
        if descriptor.name in ("training_info", "configuration"):
            getattr(rest, descriptor.name).MergeFrom(value)
    for descriptor, value in proto.graph.ListFields():
        if descriptor.name not in _GRAPH_HEAVY:
            getattr(rest.graph, descriptor.name).MergeFrom(value)
    functions = []
    for function in proto.functions:
        functions.append(onnx.FunctionProto())
        functions[-1].CopyFrom(function)
    return Header(
        ir_version=proto.ir_version,
        opset_imports={o.domain: o.version for o in proto.opset_import},
        producer_name=proto.producer_name,
        producer_version=proto.producer_version,
        domain=proto.domain,
        model_version=proto.model_version,
        doc_string=proto.doc_string,
        metadata={entry.key: entry.value for entry in proto.metadata_props},
        functions=tuple(functions),
        graph_name=proto.graph.name,
        graph_doc=proto.graph.doc_string,
        rest=rest,
    )
