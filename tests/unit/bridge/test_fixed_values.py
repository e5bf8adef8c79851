"""Which float initializers are trained: learned ones are, tables and constants are not, and names do not matter."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from graphs import model_of
from onnx import numpy_helper

from onnxprune.bridge.roles import tensor_roles
from onnxprune.graph import load_model

RNG = np.random.default_rng(0)
ANGLES = np.outer(np.arange(12), 10000.0 ** (-np.arange(8) / 8))
SINUSOID = np.stack([np.sin(ANGLES), np.cos(ANGLES)], -1).reshape(12, 16)
COUNT, NOISE = np.arange(16.0), RNG.standard_normal(16)
TABLE = "g (float[N,12,16] x, float[12,16] t) => (float[N,12,16] y) { y = Add(x, t) }"
VECTOR = "g (float[N,16] x, float[16] t) => (float[N,16] y) { y = Mul(x, t) }"
SQUARE = "g (float[N,8,8] x, float[8,8] t) => (float[N,8,8] y) { y = Add(x, t) }"


def roles(text, **values):
    """The roles of initializers, with some given values."""
    proto = model_of(text)
    for tensor in proto.graph.initializer:
        if tensor.name in values:
            array = np.asarray(values[tensor.name], dtype=np.float32)
            assert list(array.shape) == list(tensor.dims)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return tensor_roles(load_model(proto))


@pytest.mark.parametrize(
    "table",
    [
        SINUSOID,
        np.concatenate([np.sin(ANGLES), np.cos(ANGLES)], 1),
        4 * SINUSOID,
        np.concatenate([np.zeros((1, 16)), SINUSOID[1:]]),
        np.concatenate(
            [np.sin(ANGLES[:, :4]), np.cos(ANGLES[:, :4]), np.sin(2 + ANGLES[:, :4]), np.cos(2 + ANGLES[:, :4])], 1
        ),
    ],
    ids=["in turn", "in halves", "scaled", "class token", "two blocks"],
)
def test_sinusoidal_positions_are_constant(table):
    assert roles(TABLE, t=table)["t"] == "constant"


@pytest.mark.parametrize(
    "table",
    [
        RNG.standard_normal((12, 16)),
        SINUSOID + 1e-3 * RNG.standard_normal((12, 16)),
        np.sign(RNG.standard_normal((12, 16))),
        np.eye(12, 16),
        np.zeros((12, 16)),
        np.ones((12, 16)),
        SINUSOID / np.linalg.norm(RNG.standard_normal((12, 16)), axis=1, keepdims=True),
    ],
    ids=["random", "sinusoids trained on", "binary", "unit matrix", "zeros", "ones", "rows of other lengths"],
)
def test_learned_positions_stay_weights(table):
    assert roles(TABLE, t=table)["t"] == "weight"


def test_rotary_tables_are_constant_in_two_tensors():
    text = """g (float[N,12,8] x, float[12,8] a, float[12,8] b, float[12,8] w) => (float[N,12,8] y) {
      p = Mul(x, a)
      q = Mul(x, b)
      s = Add(p, q)
      y = Mul(s, w)
    }"""
    found = roles(text, a=1.2 * np.cos(ANGLES), b=1.2 * np.sin(ANGLES))
    assert found == {"a": "constant", "b": "constant", "w": "weight"}


def test_scale_of_ones_and_shift_of_zeros_stay_weights():
    text = """g (float[N,16] x, float[16] s, float[16] b) => (float[N,16] y) { y = LayerNormalization(x, s, b) }"""
    assert set(roles(text, s=np.ones(16), b=np.zeros(16)).values()) == {"weight"}


@pytest.mark.parametrize(
    "vector",
    [
        np.arange(16),
        0.5 + 8 * np.arange(16),
        np.linspace(-1, 1, 16),
        10000.0 ** (-np.arange(16) / 16),
        2.0 ** -np.arange(1, 17),
    ],
    ids=["counter", "grid", "linspace", "frequencies", "alibi"],
)
def test_progressions_are_constant(vector):
    assert roles(VECTOR, t=vector)["t"] == "constant"


@pytest.mark.parametrize(
    "vector",
    [
        RNG.standard_normal(16),
        np.arange(16) + 1e-3 * RNG.standard_normal(16),
        np.full(16, 1e-6),
        np.sort(RNG.uniform(0, 1, 16)),
    ],
    ids=["random", "counter trained on", "layer scale", "sorted"],
)
def test_learned_vectors_stay_weights(vector):
    assert roles(VECTOR, t=vector)["t"] == "weight"


def test_bins_of_a_distribution_are_constant_though_a_convolution_reads_them():
    text = "g (float[N,16,2,3] x, float[1,16,1,1] t) => (float[N,1,2,3] y) { y = Conv(x, t) }"
    assert roles(text, t=np.arange(16).reshape(1, 16, 1, 1))["t"] == "constant"


def test_plane_of_coordinates_is_constant():
    rows, columns = np.meshgrid(np.arange(8), np.arange(8), indexing="ij")
    assert roles(SQUARE, t=columns)["t"] == "constant"
    assert roles(SQUARE, t=8 * rows + columns)["t"] == "constant"
    assert roles(SQUARE, t=rows * columns)["t"] == "weight"


@pytest.mark.parametrize("hidden", [-np.inf, -1e9, -65504.0, -1e4, -100.0])
def test_additive_masks_are_constant(hidden):
    assert roles(SQUARE, t=np.triu(np.full((8, 8), 1.0), 1) * hidden if np.isfinite(hidden) else np.where(
        np.triu(np.ones((8, 8)), 1) > 0, hidden, 0.0
    ))["t"] == "constant"  # fmt: skip


def test_triangle_of_ones_is_constant_and_other_ones_and_zeros_are_not():
    assert roles(SQUARE, t=np.tril(np.ones((8, 8))))["t"] == "constant"
    assert roles(SQUARE, t=np.eye(8))["t"] == "weight"
    assert roles(SQUARE, t=RNG.integers(0, 2, (8, 8)))["t"] == "weight"


def test_image_normalisation_is_constant_and_what_follows_is_not():
    text = """g (float[N,3,4,4] x, float[1,3,1,1] mean, float[3,1,1] std, float[3,3,1,1] w, float[1,3,1,1] s)
      => (float[N,3,4,4] y) {
      a = Sub(x, mean)
      b = Div(a, std)
      c = Conv(b, w)
      y = Mul(c, s)
    }"""
    assert roles(text) == {"mean": "constant", "std": "constant", "w": "weight", "s": "weight"}


def test_bounds_of_max_and_min_are_constant():
    text = """g (float[N,4] x, float[4] low, float[4] high, float[4] w) => (float[N,4] y) {
      a = Max(x, low)
      b = Min(a, high)
      y = Mul(b, w)
    }"""
    assert roles(text) == {"low": "constant", "high": "constant", "w": "weight"}


@pytest.mark.parametrize("kind", [ml_dtypes.bfloat16, np.float16])
def test_tables_of_sixteen_bit_models_are_constant_in_float32_too(kind):
    assert roles(TABLE, t=SINUSOID.astype(kind))["t"] == "constant"
    assert roles(VECTOR, t=np.linspace(-1, 1, 16).astype(kind))["t"] == "constant"
    assert roles(VECTOR, t=(10000.0 ** (-np.arange(16) / 16)).astype(kind))["t"] == "constant"


@pytest.mark.parametrize("kind", [ml_dtypes.bfloat16, np.float16])
@pytest.mark.parametrize("seed", range(20))
def test_trained_scales_near_one_stay_weights_in_sixteen_bits(kind, seed):
    noise = 0.01 * np.random.default_rng(seed).standard_normal((12, 16))
    assert roles(TABLE, t=(1 + noise).astype(kind))["t"] == "weight"
    assert roles(VECTOR, t=(1 + noise[0]).astype(kind))["t"] == "weight"
