"""Whether a proto is a model that can be worked on.

Protobuf parses much garbage without complaint, and a file cut at the right byte parses too;
so the parts that every model has are looked for first, and then `onnx.checker` goes over the
graph with the weights left out (they may be large, or lie in other files).
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from onnx import AttributeProto, GraphProto, TensorProto, helper

from onnxprune.core.errors import ModelError
from onnxprune.graph.external import is_external
from onnxprune.graph.values import packed_bytes

__all__ = ["MIN_OPSET", "check_structure", "check_tensor", "check_text", "check_with_onnx", "tensors_of"]

MIN_OPSET = 9
_MIN_IR = 3
_UNKNOWN = "onnxprune.unknown"


def check_structure(proto: onnx.ModelProto, what: str) -> None:
    """Checks that a proto has what a model has, in versions that are supported.

    Args:
        proto: The model.
        what: How messages call it.

    Raises:
        ModelError: when it is no model, too old or too new, or empty.
    """
    if not proto.ir_version or not proto.opset_import or not proto.HasField("graph"):
        present = {"ir_version": proto.ir_version, "graph": proto.HasField("graph"), "opset_import": proto.opset_import}
        missing = [name for name, there in present.items() if not there]
        raise ModelError(
            f"{what} is not an ONNX model, or is truncated: it has no {' and no '.join(missing)}. "
            "Export or download it again."
        )
    _check_versions(proto, what)
    if not proto.graph.node:
        raise ModelError(f"{what} has a graph without nodes: there is nothing to prune. Export it again.")
    if not proto.graph.output:
        raise ModelError(f"{what} has a graph without outputs: it computes nothing. Export it again.")


def check_text(message: Message, what: str) -> None:
    """Checks that every name and text in a message is UTF-8; protobuf hands out bytes where it is not.

    Raises:
        ModelError: when one is not.
    """
    for descriptor, value in message.ListFields():
        if descriptor.type == FieldDescriptor.TYPE_STRING:
            for text in (value,) if isinstance(value, str | bytes) else value:
                if isinstance(text, bytes):
                    raise ModelError(
                        f"{what} is not a valid ONNX model: the {descriptor.name} {text[:40]!r} is not UTF-8 text. "
                        "The file is damaged; export or download it again."
                    )
        elif descriptor.type == FieldDescriptor.TYPE_MESSAGE:
            for part in (value,) if isinstance(value, Message) else value:
                check_text(part, what)


def _check_versions(proto: onnx.ModelProto, what: str) -> None:
    if not _MIN_IR <= proto.ir_version <= onnx.IR_VERSION:
        raise ModelError(
            f"{what} has ONNX file format (IR) version {proto.ir_version}; the installed onnx {onnx.__version__} reads "
            f"{_MIN_IR} to {onnx.IR_VERSION}. {_advice(proto.ir_version > onnx.IR_VERSION)}"
        )
    newest = onnx.defs.onnx_opset_version()
    opset = next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), None)
    if opset is None:
        raise ModelError(f"{what} does not import the default ONNX operator set, so there is no layer to prune in it.")
    if not MIN_OPSET <= opset <= newest:
        raise ModelError(
            f"{what} uses ONNX operator set {opset}; supported are {MIN_OPSET} to {newest} (onnx {onnx.__version__}). "
            f"{_advice(opset > newest)}"
        )


def _advice(too_new: bool) -> str:
    convert = "convert the model with onnx.version_converter.convert_version"
    return f"Upgrade the onnx package, or {convert}." if too_new else f"Export it again, or {convert}."


def tensors_of(graph: GraphProto) -> Iterator[TensorProto]:
    """Yields every dense tensor of a graph: initializers and tensor attributes, subgraphs included."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t
            elif attribute.type == AttributeProto.GRAPH:
                yield from tensors_of(attribute.g)


def check_tensor(tensor: TensorProto) -> None:
    """Checks that a tensor's type is known and that it holds as many values as its shape says.

    Raises:
        ModelError: when it does not.
    """
    if tensor.data_type not in helper.get_all_tensor_dtypes() or any(d < 0 for d in tensor.dims):
        raise ModelError(
            f"Tensor {tensor.name!r} has element type {tensor.data_type} and shape {list(tensor.dims)}, which "
            f"onnx {onnx.__version__} does not know. The model file is damaged, or newer than the onnx package."
        )
    if is_external(tensor):
        if tensor.data_type == TensorProto.STRING:
            raise ModelError(f"Tensor {tensor.name!r} keeps strings in external data, which ONNX does not allow.")
        return
    if tensor.HasField("raw_data") and tensor.data_type != TensorProto.STRING:
        found, needed, unit = len(tensor.raw_data), packed_bytes(tensor.data_type, tuple(tensor.dims)), "bytes"
    else:
        found = len(getattr(tensor, helper.tensor_dtype_to_field(tensor.data_type)))
        needed, unit = _field_length(tensor), "values"
    if found != needed:
        raise ModelError(
            f"Tensor {tensor.name!r} of shape {list(tensor.dims)} needs {needed} {unit}, but the file holds {found}. "
            "The model file is damaged; export or download it again."
        )


def _field_length(tensor: TensorProto) -> int:
    count = 1
    for dim in tensor.dims:
        count *= dim
    if tensor.data_type in (TensorProto.COMPLEX64, TensorProto.COMPLEX128):
        return 2 * count
    if tensor.data_type in (TensorProto.UINT4, TensorProto.INT4, TensorProto.FLOAT4E2M1):
        return -(-count // 2)
    if tensor.data_type in (TensorProto.UINT2, TensorProto.INT2):
        return -(-count // 4)
    return count


def check_with_onnx(proto: onnx.ModelProto, what: str) -> None:
    """Runs onnx.checker over a model, its weights left out and unknown operators let pass.

    Raises:
        ModelError: when the checker finds a fault.
    """
    light = onnx.ModelProto(ir_version=max(proto.ir_version, 4))
    light.opset_import.extend(proto.opset_import)
    light.functions.extend(proto.functions)
    _copy_light(proto.graph, light.graph)
    versions = {o.domain: o.version for o in proto.opset_import}
    opset = versions.get("", versions.get("ai.onnx", 0))
    local = {(f.domain, f.name) for f in proto.functions}
    _rename_unknown(light.graph, opset, local)
    light.opset_import.append(helper.make_opsetid(_UNKNOWN, 1))
    try:
        onnx.checker.check_model(light)
    except (onnx.checker.ValidationError, ValueError) as error:
        said = " ".join(str(error).split())
        raise ModelError(f"{what} is not a valid ONNX model: {said} Export or download it again.") from error


def _copy_light(source: GraphProto, target: GraphProto) -> None:
    """Copies a graph with its initializers turned into inputs, so that no weight is needed."""
    target.name = source.name or "graph"
    target.node.extend(source.node)
    target.input.extend(source.input)
    target.output.extend(source.output)
    _without_values(target)
    listed = {info.name for info in target.input}
    sparse = [(t.values.name, t.values.data_type, t.dims) for t in source.sparse_initializer]
    for name, kind, dims in [(t.name, t.data_type, t.dims) for t in source.initializer] + sparse:
        if name not in listed:
            target.input.append(helper.make_tensor_value_info(name, kind, list(dims)))


def _without_values(graph: GraphProto) -> None:
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR and is_external(attribute.t):
                attribute.t.CopyFrom(TensorProto(data_type=attribute.t.data_type, dims=[0]))
            elif attribute.type == AttributeProto.GRAPH:
                inner = GraphProto()
                inner.CopyFrom(attribute.g)
                attribute.g.Clear()
                _copy_light(inner, attribute.g)


def _rename_unknown(graph: GraphProto, opset: int, local: set[tuple[str, str]]) -> None:
    """Moves operators that onnx does not know, or calls deprecated, to a domain that the checker passes over.

    GroupNormalization is called deprecated in the very operator sets (18 to 20) that it was made for.
    """
    for node in graph.node:
        if node.domain in ("", "ai.onnx") and (node.domain, node.op_type) not in local:
            try:
                passed_over = onnx.defs.get_schema(node.op_type, opset, "").deprecated
            except onnx.defs.SchemaError:
                passed_over = True
            if passed_over:
                node.domain = _UNKNOWN
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                _rename_unknown(attribute.g, opset, local)
