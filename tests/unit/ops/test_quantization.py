"""QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from contrib import assert_certified, assert_counterpart, contrib_model, sizes
from onnx import numpy_helper
from pruning import analysed, plan_of

from onnxprune.bridge import to_torch
from onnxprune.groups import masked_model, prune

NET = """g (float[N,3,6,6] x, int8[8,3,3,3] w1, float[8] s1, int8[8] z1, int32[8] b1, float[8] sb1, int8[8,8,3,3] w2,
   float[8] s2, int8[8] z2, int32[8] b2, float[8] sb2, int8[4,8,1,1] w3, float[4] s3, int8[4] z3, float one, ZTYPE za)
=> (float[N,4,6,6] y) {
  qx = QuantizeLinear(x, one, za)  dx = DequantizeLinear(qx, one, za)
  d1 = DequantizeLinear<axis=0>(w1, s1, z1)  e1 = DequantizeLinear<axis=0>(b1, sb1)
  a = Conv<pads=[1,1,1,1]>(dx, d1, e1)
  r = ACTIVATION(a)
  qr = QuantizeLinear(r, one, za)  mr = MOVE(qr)  dr = DequantizeLinear(mr, one, za)
  d2 = DequantizeLinear<axis=0>(w2, s2, z2)  e2 = DequantizeLinear<axis=0>(b2, sb2)
  c = Conv<pads=[1,1,1,1]>(dr, d2, e2)
  t = Add(c, dr)
  qt = QuantizeLinear(t, one, za)  dt = DequantizeLinear(qt, one, za)
  d3 = DequantizeLinear<axis=0>(w3, s3, z3)
  y = Conv(dt, d3)
}"""


def quantised_net(zero: int, activation: str = "Relu", move: str = "Identity"):
    """Per-channel int8 weights, int32 biases and per-tensor uint8 or int8 activations."""
    rng = np.random.default_rng(0)
    kind = np.uint8 if zero else np.int8
    values = {"one": np.array(0.05, np.float32), "za": np.array(zero, kind)}
    for name, shape in (("w1", (8, 3, 3, 3)), ("w2", (8, 8, 3, 3)), ("w3", (4, 8, 1, 1))):
        values[name] = rng.integers(-127, 128, shape).astype(np.int8)
        values[name.replace("w", "s")] = rng.uniform(0.001, 0.004, shape[0]).astype(np.float32)
        values[name.replace("w", "z")] = np.zeros(shape[0], np.int8)
    for name in ("b1", "b2"):
        values[name] = rng.integers(-300, 300, 8).astype(np.int32)
        values[f"s{name}"] = rng.uniform(0.001, 0.003, 8).astype(np.float32)
    text = NET.replace("ZTYPE", "uint8" if zero else "int8").replace("ACTIVATION", activation).replace("MOVE", move)
    return contrib_model(text, values=values)


@pytest.mark.parametrize("approximate", [False, True])
@pytest.mark.parametrize("zero", [0, 128, 37])
def test_quantised_net_is_pruned_exactly(zero, approximate):
    item = assert_certified(quantised_net(zero), approximate=approximate)
    assert sizes(item) == [8]
    assert item.analysis.groups[0].approximate == ""


def test_integer_slices_and_their_scales_follow_the_channels():
    item = analysed(quantised_net(128))
    (group,) = item.analysis.groups
    kept = (0, 2, 5)
    slim = prune(item.model, item.analysis, plan_of(item.analysis, {group.name: kept}))
    for name, axes in {"w1": (0,), "w2": (0, 1), "w3": (1,), "s1": (0,), "z1": (0,), "b1": (0,), "sb2": (0,)}.items():
        expected = item.model.read(name)
        for axis in axes:
            expected = np.take(expected, kept, axis)
        assert slim.read(name).dtype == expected.dtype
        assert np.array_equal(slim.read(name), expected), name
    assert [(m.initializer, m.axis) for m in group.producers] == [("w1", 0), ("w2", 0)]
    assert {(m.initializer, m.axis) for m in group.members if m.role == "consumer"} == {("w2", 1), ("w3", 1)}


@pytest.mark.parametrize("zero", [0, 128])
def test_integers_may_move_between_quantiser_and_reader(zero):
    pool = "MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>"
    assert sizes(assert_certified(quantised_net(zero, move=pool))) == [8]


@pytest.mark.parametrize("activation", ["Relu", "Sigmoid"])
@pytest.mark.parametrize("zero", [0, 128])
def test_weights_of_one_scale_are_pruned_exactly(zero, activation):
    # no scale can make their masked slices zero, so those hold the zero point instead
    model = quantised_net(zero, activation)
    for tensor in model.graph.initializer:
        if tensor.name in ("s1", "s2", "s3", "sb1", "sb2"):
            tensor.CopyFrom(numpy_helper.from_array(np.array(0.003, np.float32), tensor.name))
        elif tensor.name in ("z1", "z2", "z3"):
            tensor.CopyFrom(numpy_helper.from_array(np.array(5, np.int8), tensor.name))
    item = assert_certified(model)
    assert sizes(item) == [8]
    masked = masked_model(item.model, item.analysis, plan_of(item.analysis, {item.analysis.groups[0].name: (0, 1)}))
    assert np.array_equal(masked.read("w1")[2:], np.full((6, 3, 3, 3), 5))
    assert np.array_equal(masked.read("b1")[2:], np.zeros(6))


def test_weight_with_two_zero_points_is_frozen():
    text = """g (float[N,3,6,6] x, int8[8,3,1,1] w1, float[4,8,1,1] w2) => (float[N,4,6,6] y) {
      s = Constant<value_float=0.02>()  z0 = Constant<value = int8 {0}>()  z1 = Constant<value = int8 {1}>()
      d0 = DequantizeLinear(w1, s, z0)  a0 = Conv(x, d0)
      d1 = DequantizeLinear(w1, s, z1)  a1 = Conv(x, d1)
      a = Mul(a0, a1)
      n = LpNormalization<axis=1>(a1)
      b = Add(a, n)
      y = Conv(b, w2)
    }"""
    w1 = np.random.default_rng(0).integers(-127, 128, (8, 3, 1, 1)).astype(np.int8)
    item = analysed(contrib_model(text, values={"w1": w1}))
    assert sizes(item) == []
    assert "sums over channels that are not zero where masked" in item.reasons("dequantizelinear_3")


def test_other_zero_point_at_the_reader_does_not_mask_to_zero():
    text = """g (float[N,3,6,6] x, float[8,3,1,1] w1, float s, float[4,8,1,1] w2) => (float[N,4,6,6] y) {
      a = Conv(x, w1)
      z = Constant<value = uint8 {OWN}>()  q = QuantizeLinear(a, s, z)
      o = Constant<value = uint8 {128}>()  d = DequantizeLinear(q, s, o)
      n = LpNormalization<axis=1>(d)
      y = Conv(n, w2)
    }"""
    assert sizes(assert_certified(contrib_model(text.replace("OWN", "128")))) == [8]
    assert sizes(analysed(contrib_model(text.replace("OWN", "127")))) == []


def test_masked_scales_hold_zero_where_they_multiply_and_one_where_they_divide():
    text = """g (float[N,3,6,6] x, float[8,3,1,1] w1, float[8] b1, float[8] sq, float[8] sd, float[4,8,1,1] w2)
    => (float[N,4,6,6] y) {
      a = Conv(x, w1, b1)
      q = QuantizeLinear<axis=1>(a, sq)
      d = DequantizeLinear<axis=1>(q, sd)
      y = Conv(d, w2)
    }"""
    item = assert_certified(contrib_model(text))
    assert sizes(item) == [8]
    masked = masked_model(item.model, item.analysis, plan_of(item.analysis, {item.group("conv_0"): (0, 1)}))
    assert np.array_equal(masked.read("sq")[2:], np.ones(6))
    assert np.array_equal(masked.read("sd")[2:], np.zeros(6))


BLOCKED = """g (float[N,5,8] x, int8[8,6] w, float[4,6] s, float[6,3] v) => (float[N,5,3] y) {
  d = DequantizeLinear<axis=0, block_size=2>(w, s)
  a = MatMul(x, d)
  r = Relu(a)
  y = MatMul(r, v)
}"""


def blocked():
    w = np.random.default_rng(0).integers(-127, 128, (8, 6)).astype(np.int8)
    return contrib_model(BLOCKED, opset=21, values={"w": w})


def test_blocked_axis_is_frozen_and_the_other_goes():
    item = assert_certified(blocked())
    assert sizes(item) == [6]
    assert "has one scale per block of this axis" in item.reasons("dequantizelinear_0")
    assert_counterpart(blocked())


DYNAMIC = """g (float[N,5,8] x, float[8,6] w, float[6,3] v) => (float[N,5,3] y) {
  a = MatMul(x, w)
  r = ACTIVATION(a)
  q, s, z = DynamicQuantizeLinear(r)
  d = DequantizeLinear(q, s, z)
  y = MatMul(d, v)
}"""


def test_range_of_data_that_masks_to_zero_is_exact():
    model = contrib_model(DYNAMIC.replace("ACTIVATION", "LeakyRelu"))
    assert sizes(assert_certified(model)) == [6]


def test_range_of_data_that_does_not_mask_to_zero_is_frozen():
    item = analysed(contrib_model(DYNAMIC.replace("ACTIVATION", "Sigmoid")), approximate=True)
    assert sizes(item) == []
    assert "takes the range of channels that are not zero where masked" in item.reasons("matmul_0")


@pytest.mark.parametrize("zero", [0, 128])
def test_counterpart_gives_onnxruntimes_outputs(zero):
    assert_counterpart(quantised_net(zero), tolerance=1e-4)


def test_counterpart_of_dynamic_quantisation_gives_onnxruntimes_outputs():
    assert_counterpart(contrib_model(DYNAMIC.replace("ACTIVATION", "Relu")))


@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_integers_are_those_of_onnxruntime_when_they_are_an_output(kind):
    text = f"""g (float[N,4,6] x, float[4] s, {kind}[4] z) => ({kind}[N,4,6] y) {{
      y = QuantizeLinear<axis=1>(x, s, z)
    }}"""
    zeros = np.array([3, 0, 100, 7], kind)
    assert_counterpart(contrib_model(text, values={"z": zeros, "s": np.array([0.01, 0.1, 0.02, 3], np.float32)}))


def test_gradients_pass_rounding_to_the_weights_before_it():
    module = to_torch(contrib_model(DYNAMIC.replace("ACTIVATION", "Relu")))
    module(torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))).square().sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in module.parameters())
