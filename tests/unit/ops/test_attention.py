"""Attention of the standard: what goes, what must stay, and what it computes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from contrib import assert_certified, assert_counterpart, contrib_model, sizes
from pruning import analysed, plan_of

from onnxprune.groups import prune

HEADS, KV, KEY, VALUE = 6, 3, 8, 5
FLAT = """g (float[N,7,12] x, float[12,48] wq, float[48] bq, float[12,KVK] wk, float[KVK] bk, float[12,KVV] wv,
   float[KVV] bv, float[30,4] wo) => (float[N,7,4] y) {
  q0 = MatMul(x, wq)  q = Add(q0, bq)
  k0 = MatMul(x, wk)  k = Add(k0, bk)
  v0 = MatMul(x, wv)  v = Add(v0, bv)
  a = Attention<q_num_heads=6, kv_num_heads=KVH ATTRS>(q, k, v MASK)
  y = MatMul(a, wo)
}"""


def flat(kv: int = KV, attributes: str = "", mask: str = "", **options):
    """A model with flat inputs; `mask` adds the mask input."""
    text = FLAT.replace("KVK", str(kv * KEY)).replace("KVV", str(kv * VALUE)).replace("KVH", str(kv))
    return contrib_model(text.replace("ATTRS", attributes).replace("MASK", mask), opset=23, **options)


@pytest.mark.parametrize(("kv", "expected"), [(6, [5, 6, 8]), (3, [2, 3, 5, 8]), (1, [5, 6, 8])])
def test_heads_groups_and_channels_of_heads_are_prunable(kv, expected):
    assert sizes(assert_certified(flat(kv))) == expected


@pytest.mark.parametrize("attributes", ["", ", scale=0.3, softcap=2.0", ", is_causal=1"])
def test_counterpart_gives_onnxruntimes_outputs(attributes):
    model = flat(attributes=attributes)
    assert_counterpart(model)
    assert sizes(assert_certified(model)) == [2, 3, 5, 8]


def test_groups_couple_the_projections_that_share_heads():
    item = analysed(flat())
    by_size = {g.size: {m.node for m in g.producers} for g in item.analysis.groups}
    assert by_size[3] == {"matmul_0", "matmul_2", "matmul_4"}  # key-value heads
    assert by_size[2] == {"matmul_0"}  # query heads of each
    assert by_size[8] == {"matmul_0", "matmul_2"}  # channels of a key head
    assert by_size[5] == {"matmul_4"}  # channels of a value head


def test_removal_writes_head_counts_and_the_original_scale():
    item = analysed(flat())
    names = {g.size: g.name for g in item.analysis.groups}
    plan = plan_of(item.analysis, {names[3]: (0, 2), names[2]: (1,), names[8]: (0, 1, 5)})
    slim = prune(item.model, item.analysis, plan)
    (node,) = (n for n in slim.nodes if n.op == "Attention")
    assert (node.attrs["q_num_heads"], node.attrs["kv_num_heads"]) == (2, 2)
    assert node.attrs["scale"] == pytest.approx(1 / math.sqrt(8))
    assert slim.read("wq").shape == (12, 6)
    # query head h reads key-value head h // 2: heads 1 and 5 of six stay
    kept = [8 + 0, 8 + 1, 8 + 5, 40 + 0, 40 + 1, 40 + 5]
    assert np.array_equal(slim.read("wq"), item.model.read("wq")[:, kept])


def test_scale_that_is_given_is_left_alone():
    item = analysed(flat(attributes=", scale=0.25"))
    name = next(g.name for g in item.analysis.groups if g.size == 8)
    slim = prune(item.model, item.analysis, plan_of(item.analysis, {name: (0, 1)}))
    assert next(n for n in slim.nodes if n.op == "Attention").attrs["scale"] == pytest.approx(0.25)


def test_macs_are_those_of_both_products():
    item = analysed(flat())
    projections = 7 * (12 * 48 + 12 * 24 + 12 * 15 + 30 * 4)
    products = 7 * 7 * 6 * (8 + 5)
    assert item.analysis.macs(item.analysis.sizes) == projections + products
    fewer = item.analysis.sizes | {g.name: 4 for g in item.analysis.groups if g.size == 8}
    assert item.analysis.macs(fewer) == 7 * (12 * 24 + 12 * 12 + 12 * 15 + 30 * 4) + 7 * 7 * 6 * (4 + 5)


def test_bias_of_each_head_follows_the_heads():
    text = FLAT.replace("float[30,4] wo", "float[1,6,7,7] m, float[30,4] wo").replace("MASK", ", m")
    text = text.replace("KVK", "24").replace("KVV", "15").replace("KVH", "3").replace("ATTRS", "")
    item = assert_certified(contrib_model(text, opset=23))
    assert sizes(item) == [2, 3, 5, 8]
    heads = {g.size for g in item.analysis.groups if any(m.initializer == "m" for m in g.members)}
    assert heads == {2, 3}


def test_mask_that_is_an_input_of_the_model_keeps_its_heads():
    text = FLAT.replace("float[30,4] wo", "float[N,6,7,7] m, float[30,4] wo").replace("MASK", ", m")
    text = text.replace("KVK", "24").replace("KVV", "15").replace("KVH", "3").replace("ATTRS", "")
    item = assert_certified(contrib_model(text, data=("x", "m"), opset=23))
    assert sizes(item) == [5, 8]
    assert "input 'm' of the model" in item.reasons("matmul_0")


APART = """g (float[N,7,12] x, float[12,48] wq, float[12,24] wk, float[12,15] wv, float[30,4] wo) => (float[N,7,4] y) {
  q0 = MatMul(x, wq)  q1 = Reshape(q0, qs)  q = Transpose<perm=[0,2,1,3]>(q1)
  k0 = MatMul(x, wk)  k1 = Reshape(k0, ks)  k = Transpose<perm=[0,2,1,3]>(k1)
  v0 = MatMul(x, wv)  v1 = Reshape(v0, vs)  v = Transpose<perm=[0,2,1,3]>(v1)
  a = Attention<is_causal=1>(q, k, v)
  t = Transpose<perm=[0,2,1,3]>(a)  r = Reshape(t, rs)
  y = MatMul(r, wo)
}"""
SHAPES = {"qs": [0, 0, 6, 8], "ks": [0, 0, 3, 8], "vs": [0, 0, 3, 5], "rs": [0, 0, 30]}


def test_inputs_with_heads_apart_have_the_same_groups():
    text = APART.replace("float[30,4] wo", "int64[4] qs, int64[4] ks, int64[4] vs, int64[3] rs, float[30,4] wo")
    model = contrib_model(text, opset=23, values={k: np.array(v) for k, v in SHAPES.items()})
    assert_counterpart(model)
    assert sizes(assert_certified(model)) == [2, 3, 5, 8]


CACHED = """g (float[N,2,12] x, float[N,3,4,8] pk, float[N,3,4,5] pv, float[12,48] wq, float[12,24] wk,
   float[12,15] wv, float[30,4] wo) => (float[N,2,4] y, float[N,3,6,8] nk, float[N,3,6,5] nv) {
  q = MatMul(x, wq)
  k = MatMul(x, wk)
  v = MatMul(x, wv)
  a, nk, nv = Attention<q_num_heads=6, kv_num_heads=3, is_causal=1>(q, k, v, , pk, pv)
  y = MatMul(a, wo)
}"""


def test_cache_at_the_models_border_keeps_heads_and_channels_but_not_the_query_heads_of_each():
    model = contrib_model(CACHED, data=("x", "pk", "pv"), opset=23)
    assert_counterpart(model)
    item = assert_certified(model)
    assert sizes(item) == [2]
    assert "input 'pk' of the model" in item.reasons("matmul_1")


def test_queries_and_keys_that_are_not_zero_where_masked_keep_their_channels():
    text = FLAT.replace("a = Attention", "qe = Sigmoid(q)  ke = Sigmoid(k)  a = Attention").replace(
        "(q, k, v", "(qe, ke, v"
    )
    text = text.replace("KVK", "24").replace("KVV", "15").replace("KVH", "3").replace("ATTRS", "").replace("MASK", "")
    item = assert_certified(contrib_model(text, opset=23))
    assert sizes(item) == [2, 3, 5]
    assert "sums over channels that are not zero where masked" in item.reasons("matmul_0")


def test_learned_queries_keep_positions_only_where_their_order_counts():
    text = """g (float[1,7,12] x, float[1,9,48] q, float[12,48] wk, float[12,30] wv, float[9,5] wp)
    => (float[1,5,30] y) {
      k = MatMul(x, wk)
      v = MatMul(x, wv)
      a = Attention<q_num_heads=6, kv_num_heads=6 CAUSAL>(q, k, v)
      t = Transpose<perm=[0,2,1]>(a)
      p = MatMul(t, wp)
      y = Transpose<perm=[0,2,1]>(p)
    }"""
    assert 9 in sizes(assert_certified(contrib_model(text.replace("CAUSAL", ""), opset=23)))
    causal = analysed(contrib_model(text.replace("CAUSAL", ", is_causal=1"), opset=23))
    assert 9 not in sizes(causal)
    assert "goes by the order of queries" in "; ".join(r for f in causal.analysis.frozen for r in f.reasons)
