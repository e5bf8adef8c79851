"""How far outputs are from the original's."""

from __future__ import annotations

import numpy as np
import pytest
from bridging import convnet
from graphs import model_of

from onnxprune.graph import load_model
from onnxprune.recover.outputs import output_error, output_producers


def _scores(seed=0):
    return np.random.default_rng(seed).standard_normal((6, 4))


def _softmax(z):
    e = np.exp(z)
    return e / e.sum(1, keepdims=True)


def test_equal_outputs_have_no_error():
    assert output_error({"y": "Gemm"}, [_scores()], [_scores()]) == 0


def test_scores_are_compared_as_class_probabilities():
    p, q = _softmax(_scores()), _softmax(_scores(1))
    expected = (p * np.log(p / q)).sum(1).mean()
    assert output_error({"y": "Gemm"}, [_scores()], [_scores(1)]) == pytest.approx(expected, rel=1e-9)
    assert output_error({"y": "Gemm"}, [_scores()], [_scores(1) + 5]) == pytest.approx(expected, rel=1e-9)
    assert output_error({"y": "Softmax"}, [p], [q]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("shape", "producer"), [((6, 4, 2), "Conv"), ((6, 4), "Sigmoid"), ((6, 1), "Gemm")])
def test_values_are_compared_by_their_squared_error(shape, producer):
    a = np.random.default_rng(0).standard_normal(shape)
    assert output_error({"y": producer}, [a], [a + 0.5]) == pytest.approx(0.25 / a.var(), rel=1e-9)


def test_integer_outputs_are_left_out():
    errors = output_error({"k": "ArgMax", "y": "Gemm"}, [np.array([1]), _scores()], [np.array([2]), _scores()])
    assert errors == 0


def test_output_that_is_not_finite_is_infinitely_far():
    assert output_error({"y": "Gemm"}, [_scores()], [_scores() * np.inf]) == np.inf


def test_producers_go_by_output():
    assert output_producers(load_model(convnet())) == {"y": "Gemm"}
    passed_on = model_of("g (float[2] x) => (float[2] x, float[2] y) { y = Relu(x) }")
    assert output_producers(load_model(passed_on)) == {"x": "", "y": "Relu"}
