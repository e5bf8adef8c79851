"""Smallest models of what random graphs and probes found wrong once; each says what went wrong."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from graphs import model_of
from onnx import numpy_helper
from pruning import analysed, disagreement, random_plan

from onnxprune.cost import COSTS
from onnxprune.groups import prune
from onnxprune.runtime import capture

TOLERANCE = 2e-5
LSTM = """g (float[5,N,6] x, float[1,16,6] w, float[1,16,4] r, float[4,3] v) => (float[5,1,N,3] y) {
  h = LSTM<hidden_size=4>(x, w, r)
  y = MatMul(h, v)
}"""
LAST = """g (float[5,N,6] x, float[1,16,6] w, float[1,16,4] r, float[4,3] v) => (float[1,N,3] y) {
  none, h = LSTM<hidden_size=4>(x, w, r)
  y = MatMul(h, v)
}"""
ATTENTION = """g (float[N,5,6] x, float[6,8] q, float[6,8] k, float[6,8] v, float[8,3] o) => (float[N,5,3] y) {
  a = MatMul(x, q)
  b = MatMul(x, k)
  c = MatMul(x, v)
  m = Attention<q_num_heads=2, kv_num_heads=2>(a, b, c)
  y = MatMul(m, o)
}"""
TRAINING = """g (float[1] x, float[6,4,5] a, float[4] s, float[4] t, float[4] m, float[4] v, float[6,4,5] k)
  => (float y) {
  p = Mul(x, a)
  n, nm, nv = BatchNormalization<training_mode=1>(p, s, t, m, v)
  z = Mul(n, k)
  y = ReduceSum<keepdims=0>(z)
}"""
ROTARY = """g (float[1] x, float[2,4,8] a, int64[2,4] places, float[9,2] c, float[9,2] s, float[2,4,8] k)
  => (float y) {
  p = Mul(x, a)
  r = RotaryEmbedding<num_heads=2>(p, c, s, places)
  z = Mul(r, k)
  y = ReduceSum<keepdims=0>(z)
}"""

RESIZE = """g (float[1] x, float[1,1,2,4] a, int64[2] sizes, float[1,1,2,3] k) => (float y) {
  p = Mul(x, a)
  r = Resize<axes=[2,3], keep_aspect_ratio_policy="not_smaller">(p, , , sizes)
  z = Mul(r, k)
  y = ReduceSum<keepdims=0>(z)
}"""


def with_constant(model: onnx.ModelProto, name: str, value: np.ndarray) -> onnx.ModelProto:
    """Returns the model with an input turned into an initializer."""
    model.graph.initializer.append(numpy_helper.from_array(value, name))
    model.graph.input.remove(next(given for given in model.graph.input if given.name == name))
    return model


def recurrent_without_sequence() -> onnx.ModelProto:
    """`LAST`, whose first output is left out."""
    model = model_of(LAST)
    model.graph.node[0].output[0] = ""
    return model


@pytest.mark.parametrize(
    "model",
    [model_of(LSTM), recurrent_without_sequence(), model_of(ATTENTION, opset=23)],
    ids=["LSTM", "LSTM without its first output", "Attention"],
)
def test_recount_of_the_emitted_graph_equals_the_plan(model):
    """The recount left these operators out, and budgets were checked against too little."""
    item = analysed(model)
    plan = random_plan(item.analysis, 0, share=0.5)
    cost = COSTS.get("flops")()
    planned = cost.polynomial(item.analysis, item.model)({name: len(kept) for name, kept in plan.kept.items()})
    slim = prune(item.model, item.analysis, plan)
    seen = item.analysis.inference.shapes.first["x"]
    shapes = capture(slim.to_proto(), {"x": np.zeros(seen, dtype=np.float32)}).shapes
    assert cost.recount(slim, shapes) == pytest.approx(planned)


def test_batch_statistics_keep_what_they_are_taken_over():
    """Batch and places were left free with training_mode=1: masked gave -8.8 and pruned 2.3."""
    item = analysed(model_of(TRAINING))
    assert disagreement(item, random_plan(item.analysis, 0, share=0.5)) < TOLERANCE


def test_positions_are_those_of_the_tokens():
    """Tokens that are weights went while their positions stayed, and onnxruntime refused the model."""
    model = model_of(ROTARY, data=("x", "places"), opset=23)
    item = analysed(with_constant(model, "places", np.arange(8, dtype=np.int64).reshape(2, 4)))
    assert disagreement(item, random_plan(item.analysis, 0, share=0.5)) < TOLERANCE


def test_resize_that_keeps_the_aspect_ratio_keeps_its_places():
    """One size was computed from the other's ratio; a place went, and all sizes were others."""
    model = with_constant(model_of(RESIZE, data=("x", "sizes")), "sizes", np.array([1, 3], dtype=np.int64))
    item = analysed(model)
    assert disagreement(item, random_plan(item.analysis, 0, share=0.5)) < TOLERANCE
