"""RotaryEmbedding of the standard and of onnxruntime: pairs go with their column of the tables."""

from __future__ import annotations

import numpy as np
import pytest
from contrib import assert_certified, assert_counterpart, contrib_model, sizes
from pruning import analysed, plan_of

from onnxprune.groups import prune

SCORES = """g (float[N,7,12] x, int64[4] s, float[9,PAIRS] cos, float[9,PAIRS] sin, int64[1,7] at, float[12,32] wq,
   float[12,32] wk, float[7,4] wo) => (float[N,4,7,4] y) {
  q0 = MatMul(x, wq)
  k0 = MatMul(x, wk)
  n = Shape<start=0, end=1>(x)  one = Constant<value_ints=[1]>()  ns = Concat<axis=0>(n, one)  p = Tile(at, ns)
  BODY
  kt = Transpose<perm=[0,1,3,2]>(k)
  d = MatMul(q, kt)
  y = MatMul(d, wo)
}"""
FLAT = """q1 = ROT(q0, TABLES)  q2 = Reshape(q1, s)  q = Transpose<perm=[0,2,1,3]>(q2)
  k1 = ROT(k0, TABLES)  k2 = Reshape(k1, s)  k = Transpose<perm=[0,2,1,3]>(k2)"""
APART = """q1 = Reshape(q0, s)  q2 = Transpose<perm=[0,2,1,3]>(q1)  q = ROT(q2, TABLES)
  k1 = Reshape(k0, s)  k2 = Transpose<perm=[0,2,1,3]>(k1)  k = ROT(k2, TABLES)"""
DOMAINS = {
    "standard": ("RotaryEmbedding", "cos, sin, p", 23),
    "onnxruntime": ("com.microsoft.RotaryEmbedding", "p, cos, sin", 18),
}


def model_with(domain: str, body: str, pairs: int, interleaved: int, heads: bool = True):
    """Scores of rotated queries and keys with 4 heads of 8 channels, `pairs` pairs of which are rotated."""
    op, tables, opset = DOMAINS[domain]
    attributes = f"interleaved={interleaved}"
    attributes += ", num_heads=4" if heads else ""
    attributes += f", rotary_embedding_dim={2 * pairs}" if pairs < 4 else ""
    text = SCORES.replace("BODY", body).replace("ROT", f"{op}<{attributes}>").replace("TABLES", tables)
    values = {"s": np.array([0, 0, 4, 8]), "at": np.arange(7)[None]}
    return contrib_model(text.replace("PAIRS", str(pairs)), opset=opset, values=values)


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("body", [FLAT, APART], ids=["flat", "apart"])
@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize(("pairs", "expected"), [(4, [4]), (3, [2, 3])])
def test_pairs_and_still_channels_are_prunable(domain, body, interleaved, pairs, expected):
    model = model_with(domain, body, pairs, interleaved)
    assert_counterpart(model)
    item = assert_certified(model)
    assert sizes(item) == expected  # heads reach the output
    (turned,) = (g for g in item.analysis.groups if any(m.initializer == "cos" for m in g.members))
    assert turned.size == pairs
    assert {m.initializer for m in turned.members} == {"cos", "sin", "wq", "wk"}


@pytest.mark.parametrize("domain", DOMAINS)
def test_removal_writes_the_rotated_size_and_slices_the_tables(domain):
    item = analysed(model_with(domain, FLAT, 3, 0))
    turned = next(g.name for g in item.analysis.groups if g.size == 3)
    slim = prune(item.model, item.analysis, plan_of(item.analysis, {turned: (0, 2)}))
    nodes = [n for n in slim.nodes if n.op == "RotaryEmbedding"]
    assert [(n.attrs["num_heads"], n.attrs["rotary_embedding_dim"]) for n in nodes] == [(4, 4)] * 2
    assert np.array_equal(slim.read("cos"), item.model.read("cos")[:, [0, 2]])
    kept = [head * 8 + i for head in range(4) for i in (0, 2, 3, 5, 6, 7)]  # pairs (i, 3 + i), then two that stay
    assert np.array_equal(slim.read("wq"), item.model.read("wq")[:, kept])


def test_heads_follow_where_they_may_go():
    text = """g (float[N,7,12] x, float[9,4] cos, float[9,4] sin, int64[1] at, float[12,32] wq, float[32,4] wo)
    => (float[N,7,4] y) {
      q = MatMul(x, wq)
      r = com.microsoft.RotaryEmbedding<HEADS>(q, at, cos, sin)
      y = MatMul(r, wo)
    }"""
    for attributes in ("num_heads=4", "interleaved=0"):  # without a count, the tables tell the size of a head
        model = contrib_model(text.replace("HEADS", attributes), values={"at": np.array([1])})
        assert_counterpart(model)
        assert sizes(assert_certified(model)) == [4, 4]


def test_tables_of_each_sample_are_matched_without_positions():
    text = """g (float[N,4,7,8] x, float[N,7,4] cos, float[N,7,4] sin, float[8,16] w, float[16,3] wo)
    => (float[N,4,7,3] y) {
      h = MatMul(x, w)
      a = Tanh(h)
      r = RotaryEmbedding(a, cos2, sin2)
      y = MatMul(r, wo)
    }"""
    text = text.replace("r = Rot", "cos2 = Concat<axis=2>(cos, cos)  sin2 = Concat<axis=2>(sin, sin)  r = Rot")
    model = contrib_model(text, data=("x", "cos", "sin"), opset=23)
    assert_counterpart(model)
    item = analysed(model)
    assert sizes(item) == []
    assert "input 'cos' of the model" in item.reasons("matmul_0")
