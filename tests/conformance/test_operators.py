"""Every operator rule against the operator tests that the ONNX standard ships, and some more.

A rule that is added is tested here without a new test: its PyTorch counterpart must give the
standard's outputs, and its axis rule must give axes of the very sizes of the outputs.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from node_cases import NodeCase, all_cases, standard_cases
from oracle import node_runner

from onnxprune.bridge import predict, to_torch
from onnxprune.graph import load_model
from onnxprune.groups import ConcreteShapes
from onnxprune.groups.infer import Inference
from onnxprune.ops import OPS

EXCEPTIONS = {
    "test_training_dropout_default": "random by definition",
    "test_training_dropout_default_mask": "random by definition",
    "test_training_dropout": "random by definition",
    "test_training_dropout_mask": "random by definition",
    "test_resize_downsample_scales_linear_align_corners": "the standard scales by the unrounded size, runtimes do not",
    "test_resize_downsample_scales_cubic_align_corners": "the standard scales by the unrounded size, runtimes do not",
}

CASES = standard_cases()
OWN = [case for cases in all_cases().values() for case in cases if "::" in case.name]


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
    # the standard's cases for these are written for operator sets before 9, or it does not define them
    assert missing <= {"And", "GlobalLpPool", "Or", "Not", "SimplifiedLayerNormalization", "Upsample", "Xor"}


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


@pytest.mark.parametrize("case", OWN, ids=lambda case: case.name)
def test_counterpart_and_axes_fit_what_onnxruntime_gives(case: NodeCase):
    expected = node_runner(case)(case.inputs)
    found = predict(to_torch(case.model), case.inputs)
    shapes = {name: np.shape(array) for name, array in {**case.inputs, **expected}.items()}
    inference = Inference(load_model(case.model), ConcreteShapes(shapes, None, 1))
    for name, reference in expected.items():
        np.testing.assert_allclose(found[name], reference, rtol=1e-4, atol=1e-5, err_msg=name)
        assert tuple(axis.size for axis in inference.axes(name)) == reference.shape


def test_exceptions_are_all_needed():
    names = {case.name for cases in CASES.values() for case in cases}
    assert EXCEPTIONS.keys() <= names
