"""Every operator rule against the operator tests that the ONNX standard ships.

A rule that is added is tested here without a new test: its PyTorch counterpart must give the
standard's outputs, and its axis rule must give axes of the very sizes of the outputs.
"""

from __future__ import annotations

import warnings
from collections import defaultdict

import numpy as np
import onnx
import pytest

from onnxprune.bridge import predict, to_torch
from onnxprune.graph import load_model
from onnxprune.groups import ConcreteShapes
from onnxprune.groups.infer import Inference
from onnxprune.ops import OPS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from onnx.backend.test.case.node import collect_testcases

OLDEST = 9
TYPES = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.INT32,
    onnx.TensorProto.INT64,
    onnx.TensorProto.BOOL,
    onnx.TensorProto.DOUBLE,
)
EXCEPTIONS = {
    "test_training_dropout_default": "random by definition",
    "test_training_dropout_default_mask": "random by definition",
    "test_training_dropout": "random by definition",
    "test_training_dropout_mask": "random by definition",
    "test_reduce_max_empty_set": "torch reduces no empty axis",
    "test_reduce_max_empty_set_bool": "torch reduces no empty axis",
    "test_reduce_min_empty_set": "torch reduces no empty axis",
    "test_resize_downsample_scales_linear_align_corners": "the standard scales by the unrounded size, runtimes do not",
    "test_resize_downsample_scales_cubic_align_corners": "the standard scales by the unrounded size, runtimes do not",
    "test_resize_downsample_scales_linear_antialias": "refused: no PyTorch counterpart",
    "test_resize_downsample_sizes_linear_antialias": "refused: no PyTorch counterpart",
    "test_resize_downsample_scales_cubic_antialias": "refused: no PyTorch counterpart",
    "test_resize_downsample_sizes_cubic_antialias": "refused: no PyTorch counterpart",
}


def _cases() -> dict[str, list[object]]:
    """Operator → its cases: one node, ordinary element types, a supported operator set."""
    known = {name.removeprefix("::") for name in OPS.names() if name.startswith("::")}
    found: dict[str, list[object]] = defaultdict(list)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        collected = collect_testcases(None)
    for case in collected:
        graph = case.model.graph
        values = [*graph.input, *graph.output]
        if len(graph.node) != 1 or graph.node[0].domain or graph.node[0].op_type not in known:
            continue
        opset = next(o.version for o in case.model.opset_import if not o.domain)
        plain = all(v.type.HasField("tensor_type") and v.type.tensor_type.elem_type in TYPES for v in values)
        if plain and opset >= OLDEST:
            found[graph.node[0].op_type].append(case)
    return found


CASES = _cases()


def _array(value: object) -> np.ndarray:
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def _data(case: object) -> list[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
    graph = case.model.graph
    return [
        (
            {v.name: _array(a) for v, a in zip(graph.input, inputs, strict=True)},
            {v.name: _array(a) for v, a in zip(graph.output, outputs, strict=True)},
        )
        for inputs, outputs in case.data_sets
    ]


def test_every_operator_has_cases():
    missing = {name.removeprefix("::") for name in OPS.names() if name.startswith("::")} - CASES.keys()
    # the standard's cases for these are written for operator sets before 9
    assert missing <= {"And", "Or", "Not", "Xor", "Upsample"}


@pytest.mark.parametrize("op", sorted(CASES))
def test_counterpart_gives_the_standards_outputs(op):
    for case in CASES[op]:
        if case.name in EXCEPTIONS:
            continue
        for inputs, expected in _data(case):
            found = predict(to_torch(case.model), inputs)
            for name, reference in expected.items():
                assert found[name].shape == reference.shape, case.name
                np.testing.assert_allclose(
                    found[name].astype(np.float64),
                    reference.astype(np.float64),
                    rtol=case.rtol,
                    atol=max(case.atol, 1e-6),
                    err_msg=case.name,
                )


@pytest.mark.parametrize("op", sorted(CASES))
def test_axis_rule_is_total_and_gives_the_sizes_of_the_outputs(op):
    for case in CASES[op]:
        for inputs, expected in _data(case):
            arrays = inputs | expected
            shapes = ConcreteShapes({name: array.shape for name, array in arrays.items()}, None, 1)
            # an axis rule whose sizes are not those of the run raises
            inference = Inference(load_model(case.model), shapes)
            for name, array in expected.items():
                assert tuple(axis.size for axis in inference.axes(name)) == array.shape, case.name


def test_exceptions_are_all_needed():
    names = {case.name for cases in CASES.values() for case in cases}
    assert EXCEPTIONS.keys() <= names
