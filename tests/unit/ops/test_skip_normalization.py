"""SkipLayerNormalization, SkipSimplifiedLayerNormalization and EmbedLayerNormalization."""

from __future__ import annotations

import numpy as np
import pytest
from contrib import assert_certified, assert_counterpart, contrib_model, sizes
from pruning import analysed, plan_of

from onnxprune.graph import load_model
from onnxprune.groups import prune
from onnxprune.train.fresh import fresh_weights

FORMS = {
    "layer": "SkipLayerNormalization<epsilon=0.001>(a, o, s, b, c)",
    "layer without bias": "SkipLayerNormalization(a, o, s, b)",
    "simplified": "SkipSimplifiedLayerNormalization<epsilon=0.001>(a, o, s, c)",
    "simplified without bias": "SkipSimplifiedLayerNormalization(a, o, s)",
}


def block(norm: str, outputs: str = "n"):
    """A feed-forward block whose sum is normalised; the sum may be read again."""
    last = "t = Add(n, z) y = MatMul(t, w4)" if "z" in outputs else "y = MatMul(n, w4)"
    return contrib_model(
        f"""g (float[N,5,12] x, float[12,16] w1, float[16,24] w2, float[24,16] w3, float[16] s, float[16] b,
           float[16] c, float[16,4] w4) => (float[N,5,4] y) {{
          a = MatMul(x, w1)
          h = MatMul(a, w2)
          r = Relu(h)
          o = MatMul(r, w3)
          {outputs} = com.microsoft.{norm}
          {last}
        }}"""
    )


@pytest.mark.parametrize("outputs", ["n", 'n, "", "", z'], ids=["normalised", "and the sum"])
@pytest.mark.parametrize("norm", FORMS.values(), ids=FORMS.keys())
def test_width_is_frozen_by_default_and_goes_approximately(norm, outputs):
    model = block(norm, outputs)
    item = assert_certified(model)
    assert sizes(item) == [24]
    assert "takes statistics over this axis" in item.reasons("matmul_0")
    wide = assert_certified(model, approximate=True)
    assert sizes(wide) == [16, 24]
    assert [g.approximate != "" for g in wide.analysis.groups] == [g.size == 16 for g in wide.analysis.groups]


@pytest.mark.parametrize("norm", FORMS.values(), ids=FORMS.keys())
def test_counterpart_gives_onnxruntimes_outputs(norm):
    assert_counterpart(block(norm))


def test_statistics_and_sum_are_those_of_onnxruntime():
    text = """g (float[N,5,16] x, float[5,16] skip, float[16] s, float[16] b, float[16] c)
    => (float[N,5,16] y, float[N,5,1] m, float[N,5,1] v, float[N,5,16] z) {
      y, m, v, z = com.microsoft.SkipLayerNormalization(x, skip, s, b, c)
    }"""
    assert_counterpart(contrib_model(text))


EMBED = """g (int32[N,5] ids, int32[N,5] parts, int32[N,5] mask, float[9,16] words, float[7,16] places,
   float[2,16] kinds, float[16] s, float[16] b, float[16,24] w1, float[24,4] w2) => (OUT) {
  n, lengths, sum = com.microsoft.EmbedLayerNormalization<epsilon=0.001>(ids, parts, words, places, kinds, s, b, mask)
  h = MatMul(n, w1)
  r = Relu(h)
  y = MatMul(r, w2)
}"""


def embedding(outputs: str = "float[N,5,4] y"):
    return contrib_model(EMBED.replace("OUT", outputs), data=("ids", "parts", "mask"))


def test_embedding_width_is_frozen_by_default_and_goes_approximately():
    assert sizes(assert_certified(embedding())) == [24]
    item = assert_certified(embedding(), approximate=True)
    assert sizes(item) == [16, 24]
    assert "looks positions up along this axis" in item.reasons("embedlayernormalization_0")


def test_embedding_tables_lose_columns_and_keep_rows():
    item = analysed(embedding(), approximate=True)
    wide = next(g.name for g in item.analysis.groups if g.size == 16)
    slim = prune(item.model, item.analysis, plan_of(item.analysis, {wide: (0, 3, 9)}))
    for name in ("words", "places", "kinds"):
        assert np.array_equal(slim.read(name), item.model.read(name)[:, [0, 3, 9]])


def test_embedding_counterpart_gives_onnxruntimes_outputs():
    assert_counterpart(embedding("float[N,5,4] y, int32[N] lengths, float[N,5,16] sum"))


def test_embedding_without_segments_and_mask():
    text = """g (int32[N,5] ids, int32[N,5] where, float[9,16] words, float[7,16] places, float[16] s, float[16] b,
       float[16,4] w) => (float[N,5,4] y) {
      n, lengths = com.microsoft.EmbedLayerNormalization(ids, "", words, places, "", s, b, "", where)
      y = MatMul(n, w)
    }"""
    model = contrib_model(text, data=("ids", "where"))
    assert_counterpart(model)
    assert sizes(assert_certified(model, approximate=True)) == [16]


@pytest.mark.parametrize("norm", FORMS.values(), ids=FORMS.keys())
def test_from_scratch_scales_begin_neutral_and_biases_at_zero(norm):
    found = fresh_weights(load_model(block(norm)), 0)
    left = {name: np.asarray(found.read(name)) for name in ("s", "b", "c") if name in found.initializers()}
    assert (left.pop("s") == 1).all()
    assert all((value == 0).all() for value in left.values())
