"""RMSNormalization, and SimplifiedLayerNormalization as onnxruntime's optimizer writes it."""

from __future__ import annotations

import pytest
from contrib import assert_certified, assert_counterpart, contrib_model, sizes
from pruning import analysed

TEXT = """g (float[N,5,12] x, float[12,16] w1, float[16] s, float[16,24] w2, float[24,16] w3, float[16,4] w4)
=> (float[N,5,4] y) {
  a = MatMul(x, w1)
  NORM(a, s)
  h = MatMul(n, w2)
  r = Relu(h)
  o = MatMul(r, w3)
  t = Add(a, o)
  y = MatMul(t, w4)
}"""
FORMS = {
    "standard": ("n = RMSNormalization<axis=-1, epsilon=0.001>", 23),
    "onnxruntime": ("n = SimplifiedLayerNormalization<axis=-1, epsilon=0.001>", 18),
}


@pytest.fixture(params=FORMS.values(), ids=FORMS.keys())
def model(request):
    norm, opset = request.param
    return contrib_model(TEXT.replace("NORM", norm), opset=opset)


def test_width_is_frozen_with_its_reason_by_default(model):
    item = assert_certified(model)
    assert sizes(item) == [24]
    assert "takes statistics over this axis" in item.reasons("matmul_0")


def test_width_goes_approximately(model):
    item = assert_certified(model, approximate=True)
    assert sizes(item) == [16, 24]
    wide = next(g for g in item.analysis.groups if g.size == 16)
    assert "takes statistics over this axis" in wide.approximate


def test_counterpart_gives_onnxruntimes_outputs(model):
    assert_counterpart(model)


def test_second_output_is_the_inverse_root_mean_square():
    text = """g (float[N,5,16] x, float[16] s) => (float[N,5,16] y, float[N,5,1] v) {
      y, v = SimplifiedLayerNormalization<axis=-1>(x, s)
    }"""
    assert_counterpart(contrib_model(text))


@pytest.mark.parametrize("axis", [1, 2])
def test_trailing_axes_are_normalised_together(axis):
    shape = "16" if axis == 2 else "5,16"
    text = f"""g (float[N,5,4] x, float[4,16] w, float[{shape}] s, float[16,3] v) => (float[N,5,3] y) {{
      a = MatMul(x, w)
      n = RMSNormalization<axis={axis}>(a, s)
      y = MatMul(n, v)
    }}"""
    model = contrib_model(text, opset=23)
    assert_counterpart(model)
    assert sizes(analysed(model)) == []
    assert sizes(assert_certified(model, approximate=True)) == [16]
