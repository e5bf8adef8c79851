"""MatMulInteger, as dynamic quantisation writes it."""

from __future__ import annotations

import numpy as np
import pytest
from contrib import assert_certified, assert_counterpart, contrib_model, sizes
from onnx import numpy_helper
from pruning import analysed, plan_of

from onnxprune.groups import prune

LAYERS = """g (float[N,5,8] x, int8[8,12] w1, int8[ZERO] z1, float[12] s1, float[12] b1, int8[12,4] w2, int8[4] z2,
   float[4] s2) => (float[N,5,4] y) {
  qx, sx, zx = DynamicQuantizeLinear(x)
  i1 = MatMulInteger(qx, w1, zx, z1)  f1 = Cast<to=1>(i1)  m1 = Mul(sx, s1)  r1 = Mul(f1, m1)  a1 = Add(r1, b1)
  r = ACTIVATION(a1)
  qr, sr, zr = DynamicQuantizeLinear(r)
  i2 = MatMulInteger(qr, w2, zr, z2)  f2 = Cast<to=1>(i2)  m2 = Mul(sr, s2)  y = Mul(f2, m2)
}"""


def layers(zero: str = "12", activation: str = "LeakyRelu"):
    rng = np.random.default_rng(0)
    # seven bits: on processors without VNNI, onnxruntime adds pairs of uint8 times int8 in sixteen bits, which saturate
    values = {
        "w1": rng.integers(-60, 60, (8, 12)).astype(np.int8),
        "w2": rng.integers(-60, 60, (12, 4)).astype(np.int8),
        "z1": rng.integers(-9, 9, 12 if zero else ()).astype(np.int8),
        "z2": rng.integers(-9, 9, 4).astype(np.int8),
        "s1": rng.uniform(0.003, 0.006, 12).astype(np.float32),
        "s2": rng.uniform(0.003, 0.006, 4).astype(np.float32),
    }
    return contrib_model(
        LAYERS.replace("int8[ZERO]", f"int8[{zero}]" if zero else "int8").replace("ACTIVATION", activation),
        values=values,
    )


@pytest.mark.parametrize("zero", ["12", ""], ids=["zero point per column", "one zero point"])
def test_dynamically_quantised_layers_are_pruned_exactly(zero):
    item = assert_certified(layers(zero))
    assert sizes(item) == [12]
    (producer,) = item.analysis.groups[0].producers
    assert (producer.initializer, producer.axis) == ("w1", 1)


def test_weights_of_one_scale_are_pruned_exactly():
    model = layers("")
    for tensor in model.graph.initializer:
        if tensor.name in ("s1", "s2"):
            tensor.CopyFrom(numpy_helper.from_array(np.array(0.004, np.float32), tensor.name))
    assert sizes(assert_certified(model)) == [12]


def test_integer_slices_follow_the_channels():
    item = analysed(layers())
    (group,) = item.analysis.groups
    kept = (1, 2, 7)
    slim = prune(item.model, item.analysis, plan_of(item.analysis, {group.name: kept}))
    for name, axis in (("w1", 1), ("z1", 0), ("s1", 0), ("b1", 0), ("w2", 0)):
        assert np.array_equal(slim.read(name), np.take(item.model.read(name), kept, axis)), name


def test_macs_are_those_of_the_product():
    item = analysed(layers())
    found = item.analysis.node_macs["matmulinteger_1"](item.analysis.sizes)
    assert found == 5 * 8 * 12


def test_channels_that_do_not_mask_to_zero_are_frozen():
    item = analysed(layers(activation="Sigmoid"))
    assert sizes(item) == []
    assert "takes the range of channels that are not zero where masked" in item.reasons("matmulinteger_1")


@pytest.mark.parametrize("zero", ["12", ""], ids=["zero point per column", "one zero point"])
def test_counterpart_gives_onnxruntimes_outputs(zero):
    assert_counterpart(layers(zero))


def test_integers_are_those_of_onnxruntime_when_they_are_an_output():
    text = """g (uint8[5,8] x, uint8[8,3] w, uint8 zx, uint8[3] zw) => (int32[5,3] y) {
      y = MatMulInteger(x, w, zx, zw)
    }"""
    rng = np.random.default_rng(0)
    values = {"w": rng.integers(0, 256, (8, 3)), "zx": np.array(7), "zw": np.array([0, 128, 255])}
    assert_counterpart(contrib_model(text, values={k: v.astype(np.uint8) for k, v in values.items()}))
