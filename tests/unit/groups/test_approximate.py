"""Channels over which statistics are taken: kept by default, removable where that is asked for."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import model_of
from pruning import analysed, disagreement, plan_of, random_plan

from onnxprune.groups import masked_model
from onnxprune.runtime import make_session, run

TOLERANCE = 1e-5

BLOCK = """g (float[N,5,12] x, float[12,16] w1, float[16] s, float[16] b, float[16,24] w2, float[24,16] w3,
   float[16,4] w4) => (float[N,5,4] y) {
  a = MatMul(x, w1)
  n = LayerNormalization<axis=-1>(a, s, b)
  h = MatMul(n, w2)
  r = Relu(h)
  o = MatMul(r, w3)
  t = Add(a, o)
  y = MatMul(t, w4)
}"""
DECOMPOSED = """g (float[N,5,12] x, float[12,16] w1, float[16] s, float[16] b, float[16,24] w2, float[24,16] w3,
   float[16,4] w4) => (float[N,5,4] y) {
  a = MatMul(x, w1)
  mean = ReduceMean<keepdims=1>(a, minus)
  d = Sub(a, mean)
  q = Mul(d, d)
  var = ReduceMean<keepdims=1>(q, minus)
  ve = Add(var, eps)
  sd = Sqrt(ve)
  u = Div(d, sd)
  us = Mul(u, s)
  n = Add(us, b)
  h = MatMul(n, w2)
  r = Relu(h)
  o = MatMul(r, w3)
  t = Add(a, o)
  y = MatMul(t, w4)
}"""
RMS = DECOMPOSED.replace("q = Mul(d, d)", "q = Mul(a, a)").replace("u = Div(d, sd)", "u = Div(a, sd)")


def decomposed(text: str):
    """Returns the model of `text`, with its constants."""
    import onnx
    from onnx import numpy_helper

    text = text.replace("float[16,4] w4)", "float[16,4] w4, int64[1] minus, float[1] eps)")
    model = model_of(text, data=("x", "minus", "eps"))
    for name, value in (("minus", np.array([-1])), ("eps", np.array([1e-5], dtype=np.float32))):
        model.graph.initializer.append(numpy_helper.from_array(value, name))
        model.graph.input.remove(next(i for i in model.graph.input if i.name == name))
    onnx.checker.check_model(model)
    return model


MODELS = {"node": model_of(BLOCK), "decomposed": decomposed(DECOMPOSED), "root mean square": decomposed(RMS)}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_normalised_width_is_frozen_with_its_reason_by_default(model):
    item = analysed(model)
    assert [g.size for g in item.analysis.groups] == [24]
    assert "takes statistics over this axis" in item.reasons("matmul_0")


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_normalised_width_is_a_group_that_says_why_it_is_approximate(model):
    item = analysed(model, approximate=True)
    assert sorted(g.size for g in item.analysis.groups) == [16, 24]
    wide = next(g for g in item.analysis.groups if g.size == 16)
    assert "takes statistics over this axis" in wide.approximate
    assert next(g for g in item.analysis.groups if g.size == 24).approximate == ""


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_masked_model_takes_statistics_over_what_is_kept(model, seed):
    item = analysed(model, approximate=True)
    assert disagreement(item, random_plan(item.analysis, seed, share=0.5), seed=seed) < TOLERANCE


def test_approximate_removal_does_change_the_outputs_of_zeroed_channels():
    # the masked model must not hide that statistics move: without narrowing, zeros would enter them
    item = analysed(MODELS["node"], approximate=True)
    wide = next(g.name for g in item.analysis.groups if g.size == 16)
    masked = masked_model(item.model, item.analysis, plan_of(item.analysis, {wide: tuple(range(8))}))
    zeroed = item.model.copy()
    for name, axis in (("w1", 1), ("s", 0), ("b", 0), ("w2", 0), ("w3", 1), ("w4", 0)):
        value = zeroed.read(name)
        value[(slice(None),) * axis + (slice(8, None),)] = 0
        zeroed.replace(name, value)
    x = np.random.default_rng(0).normal(size=(2, 5, 12)).astype(np.float32)
    a, b = (run(make_session(m.to_proto(), optimize=False), {"x": x})["y"] for m in (masked, zeroed))
    assert np.abs(a - b).max() > 0.1


def test_statistics_over_kernels_maps_and_softmax_stay_frozen():
    text = """g (float[N,8,6,6] x, float[8,8,1,1] w, float[8,8,1,1] v) => (float[N,8,6,6] y) {
      a = Conv(x, w)
      s = Softmax<axis=1>(a)
      y = Conv(s, v)
    }"""
    item = analysed(model_of(text), approximate=True)
    assert not item.analysis.groups
    assert "normalises over this axis" in item.reasons("conv_0")


def test_statistics_over_channels_and_a_dynamic_size_at_once_keep_the_channels():
    # [N, 12, H, W] -> [N, 4, 3 H W]: which positions stay depends on H and W
    text = """g (float[N,3,H,W] x, float[12,3,1,1] w1, float[4] s, float[4] b, float[5,12,1,1] w2)
       => (float[N,5,H,W] y) {
      a = Conv(x, w1)
      split = Constant<value_ints=[0,4,-1]>()  f = Reshape(a, split)
      i = InstanceNormalization(f, s, b)
      like = Shape(a)  j = Reshape(i, like)
      r = Relu(j)
      y = Conv(r, w2)
    }"""
    item = analysed(model_of(text), approximate=True)
    assert [g.size for g in item.analysis.groups] == [4]
    assert "a dynamic size at once" in item.reasons("conv_0")
