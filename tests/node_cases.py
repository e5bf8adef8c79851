"""One-node models with inputs, for every operator that has a rule: ONNX's own node tests, and some more.

The standard ships none for the operators of onnxruntime's domain, and few on maps of one and three
dimensions; those are in `more_cases`.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
from more_cases import MORE
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state as states

from onnxprune.ops import OPS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from onnx.backend.test.case.node import collect_testcases

__all__ = ["OLDEST", "NodeCase", "all_cases", "standard_cases"]

OLDEST = 9
TYPES = (TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL, TensorProto.DOUBLE)
_REFUSALS = (states.Fail, states.InvalidGraph, states.NotImplemented, states.InvalidArgument, states.RuntimeException)
QUANTIZED = (TensorProto.INT8, TensorProto.UINT8)
_EIGHT_BITS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger")


@dataclass(frozen=True)
class NodeCase:
    """A model of one node, and data to run it on.

    Attributes:
        name: Of the case.
        operator: As the registry names it: "::Conv", "com.microsoft::FusedConv".
        model: The model; every input of the node is an input of the model.
        inputs: Input name → array.
    """

    name: str
    operator: str
    model: onnx.ModelProto
    inputs: Mapping[str, NDArray[Any]]

    @property
    def node(self) -> onnx.NodeProto:
        """The one node."""
        node: onnx.NodeProto = self.model.graph.node[0]
        return node


def _array(value: object) -> NDArray[Any]:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


@cache
def standard_cases() -> dict[str, list[Any]]:
    """Returns operator type → ONNX's cases: one node, ordinary element types, a supported operator set."""
    known = {name.removeprefix("::") for name in OPS.names() if name.startswith("::")}
    found: dict[str, list[Any]] = defaultdict(list)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        collected = collect_testcases(None)
    for case in collected:
        assert case.model is not None
        graph = case.model.graph
        if len(graph.node) != 1 or graph.node[0].domain or graph.node[0].op_type not in known:
            continue
        types = TYPES + (QUANTIZED if graph.node[0].op_type in _EIGHT_BITS else ())
        opset = next(o.version for o in case.model.opset_import if not o.domain)
        values = [*graph.input, *graph.output]
        plain = all(v.type.HasField("tensor_type") and v.type.tensor_type.elem_type in types for v in values)
        if plain and opset >= OLDEST:
            found[graph.node[0].op_type].append(case)
    return found


def _released(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the model at an operator set at which onnxruntime loads it, if there is one.

    ONNX writes its cases for a set that runtimes do not know yet. What an operator means has hardly
    changed since 18, so an older set is tried where the first that defines the node is not known.
    """
    opset = next(entry.version for entry in model.opset_import if not entry.domain)
    since = onnx.defs.get_schema(model.graph.node[0].op_type, opset, "").since_version
    for version in dict.fromkeys((min(opset, max(since, 18)), min(opset, 18), min(opset, 23))):
        lowered = onnx.ModelProto()
        lowered.CopyFrom(model)
        lowered.ir_version = min(lowered.ir_version, 10)
        next(entry for entry in lowered.opset_import if not entry.domain).version = version
        try:
            onnxruntime.InferenceSession(lowered.SerializeToString(), _quiet(), providers=["CPUExecutionProvider"])
        except _REFUSALS:
            continue
        return lowered
    return model


def _quiet() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return options


@cache
def all_cases() -> dict[str, list[NodeCase]]:
    """Returns operator → all its cases: ONNX's, at a released operator set, and our own."""
    found: dict[str, list[NodeCase]] = defaultdict(list)
    for operator, cases in standard_cases().items():
        for case in cases:
            inputs, _ = case.data_sets[0]
            arrays = {v.name: _array(a) for v, a in zip(case.model.graph.input, inputs, strict=True)}
            found[f"::{operator}"].append(NodeCase(case.name, f"::{operator}", _released(case.model), arrays))
    for own in MORE:
        operator = f"{own.domain}::{own.operator}"
        if OPS.find(operator) is not None:
            model, arrays = own.build()
            found[operator].append(NodeCase(own.name, operator, model, arrays))
    return found
