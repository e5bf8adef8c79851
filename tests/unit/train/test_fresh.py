"""Weights as they are before any training."""

from __future__ import annotations

import math

import numpy as np
import pytest
from graphs import model_of
from training import NORMED

from onnxprune.graph import Model, load_model
from onnxprune.train.fresh import fresh_weights

DENSE = """g (float[N,64] x, float[64,256] wm, float[256] bm, float[128,256] wg, float[128] bg, float[128] s,
   float[128] z, float[300,128] table, int64[N] tokens, float[128] slope) => (float[N,128] y) {
  a = MatMul(x, wm)
  b = Add(a, bm)
  c = Gemm<transB=1>(b, wg, bg)
  e = Gather(table, tokens)
  d = Add(c, e)
  n = LayerNormalization(d, s, z)
  y = PRelu(n, slope)
}"""
FILTERS = """g (float[N,32,8,8] x, float[64,16,3,3] wc, float[64,32,4,4] wt) => (float[N,32,16,16] y) {
  a = Conv<group=2, pads=[1,1,1,1]>(x, wc)
  y = ConvTranspose<strides=[2,2], pads=[1,1,1,1]>(a, wt)
}"""


def fresh(text: str, seed: int = 0, **options) -> tuple[Model, Model]:
    model = load_model(model_of(text, **options))
    return model, fresh_weights(model, seed)


def spread(model: Model, name: str) -> float:
    return float(np.asarray(model.read(name)).std())


def test_filters_are_drawn_by_how_many_inputs_an_output_sees():
    model, found = fresh(FILTERS)
    assert spread(found, "wc") == pytest.approx(math.sqrt(2 / (16 * 9)), rel=0.05)
    # a stride of two by two leaves a quarter of the 4 x 4 positions to each output
    assert spread(found, "wt") == pytest.approx(math.sqrt(2 / (64 * 16 / 4)), rel=0.05)
    assert np.abs(np.asarray(found.read("wc")) - np.asarray(model.read("wc"))).min() > 0


def test_matrices_are_drawn_by_the_axis_that_is_summed_over():
    model, found = fresh(DENSE, data=("x", "tokens"))
    assert spread(found, "wm") == pytest.approx(math.sqrt(1 / 64), rel=0.05)
    assert spread(found, "wg") == pytest.approx(math.sqrt(1 / 256), rel=0.05)
    assert spread(found, "table") == pytest.approx(spread(model, "table"), rel=0.05)


def test_normalisations_begin_neutral_and_biases_at_zero():
    _, found = fresh(NORMED)
    for name, value in {"s1": 1.0, "b1": 0.0, "m1": 0.0, "v1": 1.0, "bf": 0.0}.items():
        assert (np.asarray(found.read(name)) == value).all(), name
    model, found = fresh(DENSE, data=("x", "tokens"))
    for name, value in {"bm": 0.0, "bg": 0.0, "s": 1.0, "z": 0.0}.items():
        assert (np.asarray(found.read(name)) == value).all(), name
    np.testing.assert_array_equal(found.read("slope"), model.read("slope"))


def test_the_same_seed_draws_the_same_and_the_model_stays_as_it_was():
    before, first = fresh(NORMED, seed=3)
    unchanged = load_model(model_of(NORMED))
    for name in before.initializers():
        np.testing.assert_array_equal(before.read(name), unchanged.read(name))
    _, again = fresh(NORMED, seed=3)
    _, other = fresh(NORMED, seed=4)
    np.testing.assert_array_equal(first.read("w1"), again.read("w1"))
    assert (np.asarray(first.read("w1")) != np.asarray(other.read("w1"))).all()
