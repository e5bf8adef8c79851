"""Which nodes onnxruntime cannot run, found without running the model.

A node cannot run when onnxruntime knows no such operator (a custom domain, a schema that was
withdrawn) or has no kernel for its types. The first is read from onnxruntime's own schemas.
The second is tried: the node alone, with inputs of its types, either makes a session or not.
(onnxruntime's list of kernels is no way: asking for it crashes where a provider's library is
missing.)
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx
import onnxruntime as ort
from onnx import AttributeProto, NodeProto, TensorProto, helper
from onnxruntime.capi import onnxruntime_pybind11_state as state

from onnxprune.runtime.errors import ORT_ERRORS
from onnxprune.runtime.formats import newest_ir, newest_opsets_allowed, quiet_options

__all__ = ["Unrunnable", "can_run", "find_unrunnable"]

_Signature = tuple[str, str, tuple[int, ...], int, tuple[bytes, ...]]
_Versions = tuple[int, tuple[tuple[str, int], ...]]
_TRIED: dict[tuple[_Signature, _Versions], str] = {}
"""Why nodes have no kernel, or "": what was tried in this process."""


@dataclass(frozen=True)
class Unrunnable:
    """A node of the main graph that onnxruntime cannot run.

    Attributes:
        index: Its place among the graph's nodes.
        name: Its name, "" when it has none.
        op_type: Its operator.
        domain: The operator's domain, "" for ONNX's own.
        reason: One sentence.
    """

    index: int
    name: str
    op_type: str
    domain: str
    reason: str


@functools.cache
def _schemas() -> dict[tuple[str, str], list[tuple[int, bool]]]:
    table: dict[tuple[str, str], list[tuple[int, bool]]] = {}
    for schema in state.get_all_operator_schema():
        table.setdefault((schema.domain, schema.name), []).append((schema.since_version, schema.deprecated))
    return {key: sorted(versions) for key, versions in table.items()}


def can_run(op_type: str, domain: str, opset: int) -> bool:
    """Returns whether onnxruntime knows the operator in version `opset` of its domain."""
    versions = _schemas().get(("" if domain == "ai.onnx" else domain, op_type), [])
    fitting = [deprecated for since, deprecated in versions if since <= opset]
    return bool(fitting) and not fitting[-1]


def find_unrunnable(model: onnx.ModelProto) -> tuple[Unrunnable, ...]:
    """Returns the nodes of the main graph that onnxruntime cannot run on the CPU, in graph order.

    A node whose subgraph holds such a node counts as one itself, and so does a call of a
    model-local function that holds one. Nodes with inputs of unknown type are believed.

    Args:
        model: The model; its weights are not read, and may be external.
    """
    opsets = {o.domain: o.version for o in model.opset_import}
    types = _element_types(model)
    versions = (model.ir_version, tuple(sorted(opsets.items())))
    # what a function of the model's own computes, its name does not tell
    tried = {} if model.functions else _TRIED
    found = []
    for index, node in enumerate(model.graph.node):
        reason = _unknown(node, opsets, model)
        if not reason:
            signature = _signature(node, types)
            if signature is not None:
                if (signature, versions) not in tried:
                    tried[signature, versions] = _without_kernel(node, signature[2], model)
                reason = tried[signature, versions]
        if reason:
            found.append(Unrunnable(index, node.name, node.op_type, node.domain, reason))
    return tuple(found)


def _subgraphs(node: NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _unknown(node: NodeProto, opsets: Mapping[str, int], model: onnx.ModelProto) -> str:
    """Returns why no schema fits `node` or what it contains, "" when all is known."""
    function = next((f for f in model.functions if (f.domain, f.name) == (node.domain, node.op_type)), None)
    if function is not None:
        inner = {o.domain: o.version for o in function.opset_import}
        reasons = (_unknown(n, inner, model) for n in function.node)
    else:
        opset = opsets.get(node.domain, opsets.get("", 0) if node.domain == "ai.onnx" else 1)
        if not can_run(node.op_type, node.domain, opset):
            return f"onnxruntime {ort.__version__} has no operator {_title(node)} in opset {opset}"
        reasons = (_unknown(n, opsets, model) for graph in _subgraphs(node) for n in graph.node)
    return next((reason for reason in reasons if reason), "")


def _title(node: NodeProto) -> str:
    return f"{node.domain}::{node.op_type}" if node.domain else node.op_type


def _element_types(model: onnx.ModelProto) -> dict[str, int]:
    """Returns the element type of every tensor for which it can be inferred."""
    light = onnx.ModelProto(ir_version=model.ir_version)
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    light.graph.name = "types"
    light.graph.node.extend(model.graph.node)
    light.graph.input.extend(model.graph.input)
    light.graph.value_info.extend(model.graph.value_info)
    given = {v.name for v in model.graph.input}
    light.graph.input.extend(
        helper.make_tensor_value_info(t.name, t.data_type, list(t.dims))
        for t in model.graph.initializer
        if t.name not in given
    )
    try:
        inferred = onnx.shape_inference.infer_shapes(light)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        inferred = light  # A graph that onnx cannot follow still has what it declares.
    values = (*inferred.graph.input, *inferred.graph.value_info, *model.graph.output)
    return {v.name: v.type.tensor_type.elem_type for v in values if v.type.HasField("tensor_type")}


def _signature(node: NodeProto, types: Mapping[str, int]) -> _Signature | None:
    """Returns what decides on a node's kernel, or None when a type is unknown."""
    kinds = tuple(types.get(name, TensorProto.UNDEFINED) if name else -1 for name in node.input)
    if TensorProto.UNDEFINED in kinds or next(_subgraphs(node), None) is not None:
        return None
    small = [a.SerializeToString() for a in node.attribute if a.type in (AttributeProto.INT, AttributeProto.STRING)]
    # ConstantOfShape takes its type from a tensor
    small += [f"{a.name}:{a.t.data_type}".encode() for a in node.attribute if a.type == AttributeProto.TENSOR]
    return node.domain, node.op_type, kinds, len(node.output), tuple(sorted(small))


def _without_kernel(node: NodeProto, kinds: tuple[int, ...], model: onnx.ModelProto) -> str:
    """Returns why a session of `node` alone finds no kernel, "" when it does or fails otherwise."""
    alone = onnx.ModelProto(ir_version=min(model.ir_version, newest_ir()))
    alone.opset_import.extend(model.opset_import)
    alone.functions.extend(model.functions)
    alone.graph.name = "probe"
    alone.graph.node.append(node)
    typed = {name: kind for name, kind in zip(node.input, kinds, strict=True) if name}
    alone.graph.input.extend(helper.make_tensor_value_info(name, kind, None) for name, kind in typed.items())
    alone.graph.output.extend(onnx.ValueInfoProto(name=name) for name in node.output if name)
    try:
        with newest_opsets_allowed():
            ort.InferenceSession(alone.SerializeToString(), quiet_options(), providers=["CPUExecutionProvider"])
    except state.NotImplemented:
        read = ", ".join(TensorProto.DataType.Name(k).lower() for k in typed.values()) or "no inputs"
        return f"onnxruntime {ort.__version__} has no CPU kernel for {_title(node)} on {read}"
    except ORT_ERRORS:
        return ""  # Out of its context a node may lack a constant; only a missing kernel counts.
    return ""
