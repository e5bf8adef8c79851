"""Every node test that the ONNX standard generates, run through the PyTorch counterparts.

A case is *ordinary* where all its inputs and outputs are dense tensors of float16, bfloat16, float32,
float64, bool, or integers of 8 to 64 bits, and *supported* where each operator in its graph has a
counterpart. What is both must give the standard's outputs: same element type, same shape, and
|found − expected| ≤ atol + rtol |expected|, at the case's own tolerances, but no tighter than

    atol 1e-6, rtol two units in the last place of the output's type,

as a sum in another order already differs by that much.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from onnxprune.bridge import to_torch
from onnxprune.bridge.moments import feed
from onnxprune.ops import OPS
from onnxprune.ops.registry import TWINS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from onnx.backend.test.case.node import collect_testcases

__all__ = ["EXCEPTIONS", "OLDEST", "SuiteCase", "failure", "suite"]

OLDEST = 9
ORDINARY = frozenset(
    getattr(TensorProto, name)
    for name in ("FLOAT16", "BFLOAT16", "FLOAT", "DOUBLE", "BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8",
                 "UINT16", "UINT32", "UINT64")
)  # fmt: skip
_ULPS = {"float16": 2 * 2**-10, "bfloat16": 2 * 2**-7}
_SMALLEST_ATOL = 1e-6

_RANDOM = "Dropout in training mode draws at random; the module passes its input on, as at inference"
_CORNERS = (
    "the expected values take the unrounded output size scale · I for the distance of the corners; onnxruntime and "
    "PyTorch take the size that the output has"
)
EXCEPTIONS = {
    "test_resize_downsample_scales_cubic_align_corners": _CORNERS,
    "test_resize_downsample_scales_linear_align_corners": _CORNERS,
    "test_training_dropout": _RANDOM,
    "test_training_dropout_default": _RANDOM,
    "test_training_dropout_default_mask": _RANDOM,
    "test_training_dropout_mask": _RANDOM,
}
"""Supported, ordinary cases that the counterparts do not pass, and why."""


@dataclass(frozen=True)
class SuiteCase:
    """One node test.

    Attributes:
        name: As the standard calls it.
        operator: The operator under test, "domain::type" outside the default domain.
        case: ONNX's own record of it.
        unusual: What keeps it from being ordinary ("string", "sequence", "float8e4m3fn", …), or "".
        missing: Operators without a counterpart, sorted.
    """

    name: str
    operator: str
    case: Any
    unusual: str
    missing: tuple[str, ...]

    @property
    def types(self) -> frozenset[str]:
        """Names of the element types of its inputs and outputs."""
        values = [*self.case.model.graph.input, *self.case.model.graph.output]
        return frozenset(TensorProto.DataType.Name(v.type.tensor_type.elem_type).lower() for v in values)


@cache
def suite() -> tuple[SuiteCase, ...]:
    """Returns every case, in the order of their names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = [case for case in collect_testcases(None) if case.model is not None]
    known = set(OPS.names()) | set(TWINS.names())
    by_name = {case.name: case for case in cases}
    found = []
    for case in cases:
        operators = {_key(node) for node in case.model.graph.node}
        found.append(
            SuiteCase(case.name, _under_test(case, by_name), case, _unusual(case), tuple(sorted(operators - known)))
        )
    return tuple(sorted(found, key=lambda entry: entry.name))


def _key(node: onnx.NodeProto) -> str:
    return f"::{node.op_type}" if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"


def _under_test(case: Any, by_name: dict[str, Any]) -> str:
    """An expanded case writes the operator of another case as a graph of others."""
    if "_expanded" in case.name:
        parent = by_name.get(case.name[: case.name.index("_expanded")])
        return _key(parent.model.graph.node[0]) if parent is not None else "expanded functions"
    operators = [_key(node) for node in case.model.graph.node]
    return operators[-1] if operators else "::Identity"


def _unusual(case: Any) -> str:
    for value in (*case.model.graph.input, *case.model.graph.output):
        kind = value.type.WhichOneof("value")
        if kind != "tensor_type":
            return str(kind).removesuffix("_type").replace("_", " ")
        if value.type.tensor_type.elem_type not in ORDINARY:
            return TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower()
    return ""


def _array(value: object) -> NDArray[Any]:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def _supported(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the model in operator set 9 where it is written for an older one and its operators are still the same."""
    entry = next(entry for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    same = all(
        onnx.defs.get_schema(node.op_type, entry.version).since_version
        == onnx.defs.get_schema(node.op_type, OLDEST).since_version
        for node in model.graph.node
    ) if entry.version < OLDEST else False  # fmt: skip
    if not same:
        return model
    raised = onnx.ModelProto()
    raised.CopyFrom(model)
    next(e for e in raised.opset_import if e.domain in ("", "ai.onnx")).version = OLDEST
    return raised


def failure(entry: SuiteCase) -> str:
    """Returns how the counterparts fail an ordinary, supported case, or ""."""
    graph = entry.case.model.graph
    for inputs, outputs in entry.case.data_sets:
        module = to_torch(_supported(entry.case.model))
        arrays = {v.name: _array(a) for v, a in zip(graph.input, inputs, strict=True)}
        with torch.no_grad():
            found = module.call_with({}, feed(module, arrays))
        tensors = found if isinstance(found, tuple) else (found,)
        names = [value.name for value in graph.output]
        for message in _differences(names, tensors, outputs, entry.case):
            return message
    return ""


def _differences(names: list[str], tensors: tuple[Any, ...], outputs: Any, case: Any) -> Iterator[str]:
    for name, tensor, output in zip(names, tensors, outputs, strict=True):
        expected = _array(output)
        kind = str(tensor.dtype).removeprefix("torch.")
        if kind != expected.dtype.name:
            yield f"{name} is {kind}, not {expected.dtype.name}"
        elif tuple(tensor.shape) != expected.shape:
            yield f"{name} has shape {tuple(tensor.shape)}, not {expected.shape}"
        else:
            found = (tensor.float() if kind == "bfloat16" else tensor).numpy().astype(np.float64)
            rtol, atol = max(case.rtol, _ULPS.get(kind, 0.0)), max(case.atol, _SMALLEST_ATOL)
            if not np.allclose(found, expected.astype(np.float64), rtol=rtol, atol=atol, equal_nan=True):
                worst = np.nanmax(np.abs(found - expected.astype(np.float64)))
                yield f"{name} differs by {worst:.2g}"
