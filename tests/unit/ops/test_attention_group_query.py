"""GroupQueryAttention of onnxruntime: head sizes go in blocks, heads one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from contrib import assert_certified, assert_counterpart, contrib_model, sizes
from pruning import analysed, plan_of

from onnxprune.bridge import to_torch
from onnxprune.core.errors import ModelError
from onnxprune.graph import load_model
from onnxprune.groups import ConcreteShapes, analyse, prune

# every sample of the batch has six tokens: lengths are 5 each, whatever the size of the batch
LENGTHS = "n = Shape<start=0, end=1>(x)  lengths = Expand(five, n)"
APART = """g (float[N,6,12] x, int32[1] five, int32 six EXTRA, float[12,QW] wq, float[QW] bq, float[12,KW] wk,
   float[12,KW] wv, float[QW,4] wo) => (float[N,6,4] y) {
  LENGTHS
  q0 = MatMul(x, wq)  q = Add(q0, bq)
  k = MatMul(x, wk)
  v = MatMul(x, wv)
  a, nk, nv = com.microsoft.GroupQueryAttention<num_heads=6, kv_num_heads=3 ATTRS>(q, k, v, , , lengths, six INPUTS)
  y = MatMul(a, wo)
}"""
PACKED = """g (float[N,6,12] x, int32[1] five, int32 six EXTRA, float[12,PW] w, float[PW] b, float[QW,4] wo)
=> (float[N,6,4] y) {
  LENGTHS
  q0 = MatMul(x, w)  q = Add(q0, b)
  a, nk, nv = com.microsoft.GroupQueryAttention<num_heads=6, kv_num_heads=3 ATTRS>(q, , , , , lengths, six INPUTS)
  y = MatMul(a, wo)
}"""
NUMBERS = {"five": np.array([5], dtype=np.int32), "six": np.array(6, dtype=np.int32)}


def model_with(text: str, size: int, attributes: str = "", extra: str = "", inputs: str = ""):
    """The model of `text` with heads of `size` channels."""
    for old, new in (
        ("QW", str(6 * size)), ("KW", str(3 * size)), ("PW", str(12 * size)), ("LENGTHS", LENGTHS),
        ("ATTRS", attributes), ("EXTRA", extra), ("INPUTS", inputs),
    ):  # fmt: skip
        text = text.replace(old, new)
    return contrib_model(text, values=NUMBERS)


@pytest.mark.parametrize("text", [APART, PACKED], ids=["apart", "packed"])
@pytest.mark.parametrize("attributes", ["", ", scale=0.3, softcap=2.0", ", local_window_size=2", ", smooth_softmax=1"])
def test_heads_go_one_by_one_and_channels_in_blocks_of_eight(text, attributes):
    model = model_with(text, 32, attributes)
    assert_counterpart(model)
    assert sizes(assert_certified(model)) == [2, 3, 4]  # query heads of each, key-value heads, blocks


def test_heads_of_eight_channels_stay_whole_and_say_why():
    item = assert_certified(model_with(APART, 8))
    assert sizes(item) == [2, 3]
    assert "onnxruntime runs it only where heads have a multiple of 8 such channels" in item.reasons("matmul_2")


@pytest.mark.parametrize("text", [APART, PACKED], ids=["apart", "packed"])
@pytest.mark.parametrize("columns", [16, 8])
@pytest.mark.parametrize("interleaved", [0, 1])
def test_rotated_channels_go_in_blocks_of_eight_pairs_with_their_tables(text, columns, interleaved):
    attributes = f", do_rotary=1, rotary_interleaved={interleaved}"
    extra = f", float[9,{columns}] cos, float[9,{columns}] sin"
    model = model_with(text, 32, attributes, extra, ", cos, sin")
    assert_counterpart(model)
    item = assert_certified(model)
    assert sizes(item) == ([2, 2, 3] if columns == 16 else [2, 3])
    pairs = [g for g in item.analysis.groups if any(m.initializer == "cos" for m in g.members)]
    assert [g.size for g in pairs] == ([2] if columns == 16 else [])


def test_partly_rotated_heads_lose_whole_blocks_of_still_channels():
    extra = ", float[9,8] cos, float[9,8] sin"
    model = model_with(APART, 64, ", do_rotary=1", extra, ", cos, sin")
    assert_counterpart(model)
    assert sizes(assert_certified(model)) == [2, 3, 3]  # three blocks of sixteen are not rotated


def test_removal_writes_head_counts_and_the_original_scale():
    item = analysed(model_with(APART, 32))
    blocks = next(g.name for g in item.analysis.groups if g.size == 4)
    kv = next(g.name for g in item.analysis.groups if g.size == 3)
    slim = prune(item.model, item.analysis, plan_of(item.analysis, {blocks: (1,), kv: (0, 2)}))
    (node,) = (n for n in slim.nodes if n.op == "GroupQueryAttention")
    assert (node.attrs["num_heads"], node.attrs["kv_num_heads"]) == (4, 2)
    assert node.attrs["scale"] == pytest.approx(1 / math.sqrt(32))
    kept = [*range(8, 16), *range(64 + 8, 64 + 16)]
    assert np.array_equal(slim.read("wk"), item.model.read("wk")[:, kept])


def test_macs_are_those_of_both_products():
    item = analysed(model_with(APART, 32))
    assert item.analysis.macs(item.analysis.sizes) == 6 * 12 * (192 + 96 + 96) + 2 * 36 * 192 + 6 * 192 * 4


def test_bias_and_sink_follow_the_heads():
    extra = ", float[1,6,6,6] r, float[6] s"
    model = model_with(APART, 16, "", extra, ", , , , r, s")
    assert_counterpart(model)
    item = assert_certified(model)
    assert sizes(item) == [2, 2, 3]
    for name in ("r", "s"):
        assert sorted(g.size for g in item.analysis.groups if any(m.initializer == name for m in g.members)) == [2, 3]


CACHED = """g (float[N,1,12] x, float[N,3,4,16] pk, float[N,3,4,16] pv, int32[1] four, int32 five, float[12,96] wq,
   float[12,48] wk, float[12,48] wv, float[9,8] cos, float[9,8] sin, float[96,4] wo)
=> (float[N,1,4] y, float[N,3,5,16] nk, float[N,3,5,16] nv) {
  n = Shape<start=0, end=1>(x)  lengths = Expand(four, n)
  q = MatMul(x, wq)
  k = MatMul(x, wk)
  v = MatMul(x, wv)
  a, nk, nv = com.microsoft.GroupQueryAttention<num_heads=6, kv_num_heads=3, do_rotary=1>(
    q, k, v, pk, pv, lengths, five, cos, sin)
  y = MatMul(a, wo)
}"""


def test_cache_at_the_models_border_leaves_the_query_heads_of_each():
    numbers = {"four": np.array([4], dtype=np.int32), "five": np.array(5, dtype=np.int32)}
    model = contrib_model(CACHED, data=("x", "pk", "pv"), values=numbers)
    assert_counterpart(model)
    item = assert_certified(model)
    assert sizes(item) == [2]
    assert "input 'pk' of the model" in item.reasons("matmul_3")


def test_quantised_cache_freezes_the_node_with_the_reason():
    extra = ", float[1] ks, float[1] vs"
    proto = model_with(APART, 16, "", extra, ", , , , , , ks, vs")
    shapes = {
        "x": (2, 6, 12), "n": (1,), "lengths": (2,), "q0": (2, 6, 96), "q": (2, 6, 96), "k": (2, 6, 48),
        "v": (2, 6, 48), "a": (2, 6, 96), "nk": (2, 3, 6, 16), "nv": (2, 3, 6, 16), "y": (2, 6, 4),
    }  # fmt: skip
    analysis = analyse(load_model(proto), ConcreteShapes(shapes, None, 2))
    assert not analysis.groups
    assert any("keeps keys and values quantised" in reason for f in analysis.frozen for reason in f.reasons)
    with pytest.raises(ModelError, match="keeps keys and values quantised"):
        to_torch(proto)
