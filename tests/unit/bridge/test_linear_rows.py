"""Linear layers found in a graph, as matrix products over sampled rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from graphs import model_of

from onnxprune.bridge.linear import LinearLayer, find_layers
from onnxprune.bridge.rows import column_count, from_matrix, layer_rows, to_matrix
from onnxprune.bridge.walk import Walk
from onnxprune.graph import Model, load_model

ATOL = 1e-5  # the layer is run in float32, the rows are multiplied in float64
CASES = {
    "conv": ("float[2,4,9,8] x, float[6,4,3,3] w, float[6] b", "y = Conv<pads=[1,0,2,1], strides=[2,1]>(x, w, b)"),
    "dilated": ("float[2,4,9,8] x, float[6,4,3,3] w", "y = Conv<pads=[2,1,2,1], dilations=[2,1]>(x, w)"),
    "grouped": ("float[2,4,9,8] x, float[6,2,3,3] w", 'y = Conv<group=2, auto_pad="SAME_UPPER", strides=[2,2]>(x, w)'),
    "depthwise": (
        "float[2,4,9,8] x, float[4,1,3,3] w, float[4] b",
        'y = Conv<group=4, auto_pad="SAME_LOWER", strides=[2,2]>(x, w, b)',
    ),
    "one axis": ("float[2,4,9] x, float[6,4,3] w", "y = Conv<dilations=[2]>(x, w)"),
    "three axes": ("float[2,4,5,6,7] x, float[6,4,3,1,2] w", 'y = Conv<auto_pad="VALID">(x, w)'),
    "transposed": (
        "float[2,4,5,6] x, float[4,3,3,2] w, float[6] b",
        "y = ConvTranspose<group=2, strides=[2,3], pads=[1,0,0,1], output_padding=[1,2], dilations=[1,2]>(x, w, b)",
    ),
    "gemm": ("float[2,4] x, float[6,4] w, float[6] b", "y = Gemm<transB=1, alpha=0.5, beta=2.0>(x, w, b)"),
    "gemm as stored": ("float[2,4] x, float[4,6] w, float[1,6] b", "y = Gemm(x, w, b)"),
    "tokens": ("float[2,3,4] x, float[4,6] w, float[6] b", "t = MatMul(x, w) y = Add(b, t)"),
    "matrix on the left": ("float[2,4,3] x, float[6,4] w, float[6,1] b", "t = MatMul(w, x) y = Add(t, b)"),
    "bias behind a conv": ("float[2,4,3,3] x, float[6,4,1,1] w, float[1,6,1,1] b", "t = Conv(x, w) y = Add(b, t)"),
}


def _model(inputs: str, body: str) -> Model:
    return load_model(model_of(f"g ({inputs}) => (float y) {{ {body} }}"))


def _only(model: Model) -> LinearLayer:
    (layer,), skipped = find_layers(model)
    assert skipped == {}
    return layer


def _rows(model: Model, count: int) -> tuple[LinearLayer, np.ndarray, np.ndarray]:
    layer = _only(model)
    x = np.random.default_rng(0).standard_normal([int(n) for n in model.inputs()[0].shape or ()]).astype(np.float32)
    walk = Walk(model, [{"x": x}])
    walk.finish()
    y = walk.outputs()[0][0]
    return layer, *layer_rows(layer, torch.from_numpy(x), y, count, np.random.default_rng(0))


@pytest.mark.parametrize("name", CASES)
def test_rows_times_weight_plus_bias_is_the_layer(name):
    model = _model(*CASES[name])
    layer, x, y = _rows(model, 10**6)
    weight = to_matrix(layer, model.read(layer.weight))
    bias = model.read(layer.bias).reshape(weight.shape[0], 1, -1) * layer.bias_scale if layer.bias else 0
    assert x.shape[2] == weight.shape[1] == column_count(layer)
    np.testing.assert_allclose(x @ weight + bias, y, rtol=0, atol=ATOL)


@pytest.mark.parametrize("name", CASES)
def test_matrix_goes_back_into_the_weight(name):
    model = _model(*CASES[name])
    weight = model.read(_only(model).weight)
    layer = _only(model)
    np.testing.assert_allclose(from_matrix(layer, to_matrix(layer, weight), weight.shape), weight, rtol=1e-12)


@pytest.mark.parametrize("name", ["conv", "tokens"])
def test_sampled_rows_are_some_of_all_rows(name):
    model = _model(*CASES[name])
    _, all_x, all_y = _rows(model, 10**6)
    _, x, y = _rows(model, 5)
    assert x.shape[1] == 5
    for row, aim in zip(x[0], y[0], strict=True):
        (found,) = np.flatnonzero((all_x[0] == row).all(axis=1))
        assert np.array_equal(all_y[0][found], aim)


def test_bias_that_an_add_brings_belongs_to_the_layer():
    layer = _only(_model(*CASES["tokens"]))
    assert (layer.bias, layer.own_bias, layer.output, layer.plain, layer.total) == ("b", True, "t", "y", "y")


def test_residual_belongs_to_the_layer_that_comes_last():
    model = load_model(
        model_of(
            """g (float[N,4,3,3] x, float[6,4,1,1] v, float[6,4,1,1] w) => (float[N,6,3,3] y) {
              a = Conv(x, v)
              b = Conv(x, w)
              y = Add(a, b)
            }"""
        )
    )
    first, second = find_layers(model)[0]
    assert (first.total, first.residual) == ("a", "")
    assert (second.plain, second.total, second.residual) == ("b", "y", "a")


def test_bias_that_others_read_may_not_change():
    model = load_model(
        model_of(
            """g (float[N,4] x, float[4,6] v, float[6,6] w, float[6] b) => (float[N,6] y) {
              a = Gemm(x, v, b)
              y = Gemm(a, w, b)
            }"""
        )
    )
    assert [layer.own_bias for layer in find_layers(model)[0]] == [False, False]


@pytest.mark.parametrize(
    ("inputs", "body", "reason"),
    [
        ("float[2,4] x, float[4,4] w", "t = MatMul(x, w) y = MatMul(t, w)", "shares its weight 'w'"),
        ("float[2,4] x, float[4,6] v", "w = Neg(v) t = Relu(w) y = Gemm(x, t)", "at run time"),
        ("float[4,2] x, float[4,6] w", "y = Gemm<transA=1>(x, w)", "transposed"),
        ("float[2,4,4] x, float[2,4,4] w", "y = MatMul(x, w)", "3 axes"),
        ("float[1,2,3,3] x, float[2,2,2,2] w", 'y = ConvTranspose<auto_pad="SAME_UPPER">(x, w)', "padding"),
    ],
)
def test_layer_that_cannot_be_worked_on_is_named_with_a_reason(inputs, body, reason):
    layers, skipped = find_layers(_model(inputs, body))
    assert layers == []
    assert all(reason in text for text in skipped.values())
    assert skipped


def test_product_of_two_activations_is_no_layer():
    model = _model("float[2,4,4] x", "t = Relu(x) y = MatMul(x, t)")
    assert find_layers(model) == ([], {})
