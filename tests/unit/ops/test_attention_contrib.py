"""Attention and MultiHeadAttention of onnxruntime."""

from __future__ import annotations

import math

import numpy as np
import pytest
from contrib import assert_certified, assert_counterpart, contrib_model, sizes
from pruning import analysed, plan_of

from onnxprune.bridge import predict, to_torch
from onnxprune.core.errors import ModelError
from onnxprune.graph import load_model
from onnxprune.groups import ConcreteShapes, analyse, prune
from onnxprune.runtime import make_session, run

PACKED = """g (float[N,6,12] x EXTRA, float[12,16] w0, float[16,WIDTH] w, float[WIDTH] b, float[OUT,4] wo)
=> (float[N,6,4] y) {
  h = MatMul(x, w0)
  a = com.microsoft.Attention<num_heads=4 ATTRS>(h, w, b INPUTS)
  y = MatMul(a, wo)
}"""


def packed(value: int = 8, attributes: str = "", extra: str = "", inputs: str = "", data=("x",), values=None):
    """A model with projections inside the node: 4 heads of 8 key and `value` value channels."""
    text = PACKED.replace("WIDTH", str(4 * (16 + value))).replace("OUT", str(4 * value))
    sized = f", qkv_hidden_sizes=[32, 32, {4 * value}]" if value != 8 else ""
    text = text.replace("ATTRS", attributes + sized).replace("EXTRA", extra).replace("INPUTS", inputs)
    return contrib_model(text, data=data, values=values)


@pytest.mark.parametrize(("value", "attributes"), [(8, ""), (5, ", unidirectional=1"), (8, ", scale=0.2")])
def test_heads_and_both_kinds_of_channels_are_prunable(value, attributes):
    model = packed(value, attributes)
    assert_counterpart(model)
    assert sizes(assert_certified(model)) == sorted([4, 8, value, 16])


def test_removal_writes_widths_head_count_and_scale():
    item = analysed(packed())
    heads = next(g for g in item.analysis.groups if g.size == 4)
    key = next(g for g in item.analysis.groups if g.size == 8 and g.multiple == 8)  # in queries and keys
    slim = prune(item.model, item.analysis, plan_of(item.analysis, {heads.name: (1, 3), key.name: (0, 2, 7)}))
    (node,) = (n for n in slim.nodes if n.op == "Attention")
    assert node.attrs["num_heads"] == 2
    assert list(node.attrs["qkv_hidden_sizes"]) == [6, 6, 16]
    assert node.attrs["scale"] == pytest.approx(1 / math.sqrt(8))
    assert slim.read("w").shape == (16, 28)


def test_macs_are_those_of_projections_and_products():
    item = analysed(packed(5))
    expected = 6 * 12 * 16 + 6 * 16 * 84 + 6 * 6 * 4 * (8 + 5) + 6 * 20 * 4
    assert item.analysis.macs(item.analysis.sizes) == expected


@pytest.mark.parametrize("shape", ["N", "N,6", "N,6,6"])
def test_masks_stay_and_counterpart_reads_them(shape):
    model = packed(5, extra=f", int32[{shape}] m", inputs=", m", data=("x", "m"))
    assert_counterpart(model)
    assert sizes(assert_certified(model)) == [4, 5, 8, 16]


def test_added_bias_of_each_head_follows_the_heads():
    model = packed(extra=", float[1,4,6,6] r", inputs=", , , r")
    assert_counterpart(model)
    item = assert_certified(model)
    assert sizes(item) == [4, 8, 8, 16]
    assert [g.size for g in item.analysis.groups if any(m.initializer == "r" for m in g.members)] == [4]


def test_past_makes_key_and_value_channels_one_and_keeps_them():
    text = """g (float[N,2,12] x, float[2,N,4,3,8] past, float[12,96] w, float[96] b, float[32,4] wo)
    => (float[N,2,4] y, float[2,N,4,5,8] present) {
      a, present = com.microsoft.Attention<num_heads=4, unidirectional=1>(x, w, b, , past)
      z = Relu(a)
      y = MatMul(z, wo)
    }"""
    model = contrib_model(text, data=("x", "past"))
    assert_counterpart(model)
    item = analysed(model)
    assert sizes(item) == []
    assert "input 'past' of the model" in item.reasons("attention_0")


def test_rotation_inside_the_node_freezes_it_with_the_reason():
    model = load_model(packed(attributes=", do_rotary=1"))  # onnxruntime's own CPU kernel refuses it
    shapes = {"x": (2, 6, 12), "h": (2, 6, 16), "a": (2, 6, 32), "y": (2, 6, 4)}
    analysis = analyse(model, ConcreteShapes(shapes, None, 2))
    assert not analysis.groups
    assert any("rotates queries and keys itself" in reason for f in analysis.frozen for reason in f.reasons)
    with pytest.raises(ModelError, match="rotates queries and keys itself"):
        to_torch(packed(attributes=", do_rotary=1"))


MULTI = """g (float[N,6,12] x, float[N,7,12] z EXTRA, float[12,32] wq, float[12,32] wk, float[12,DV] wv, float[BW] b,
   float[DV,4] wo) => (float[N,6,4] y) {
  q = MatMul(x, wq)
  k = MatMul(z, wk)
  v = MatMul(z, wv)
  a = com.microsoft.MultiHeadAttention<num_heads=4 ATTRS>(q, k, v, b INPUTS)
  y = MatMul(a, wo)
}"""


def multi(value: int = 8, attributes: str = "", extra: str = "", inputs: str = "", data=("x", "z")):
    """A cross-attention model: 4 heads of 8 key and `value` value channels."""
    text = MULTI.replace("DV", str(4 * value)).replace("BW", str(64 + 4 * value)).replace("ATTRS", attributes)
    return contrib_model(text.replace("EXTRA", extra).replace("INPUTS", inputs), data=data)


@pytest.mark.parametrize(("value", "attributes"), [(8, ""), (5, ", scale=0.2"), (5, ", unidirectional=1")])
def test_separate_projections_share_heads_and_the_packed_bias(value, attributes):
    model = multi(value, attributes)
    if "unidirectional" in attributes:
        model = contrib_model(
            MULTI.replace("DV", "20")
            .replace("BW", "84")
            .replace("ATTRS", attributes)
            .replace("(z, ", "(x, ")
            .replace("float[N,7,12] z EXTRA,", "")
            .replace("INPUTS", "")
        )
    assert_counterpart(model)
    item = assert_certified(model)
    assert sizes(item) == sorted([4, 8, value])
    assert all(any(m.initializer == "b" for m in g.members) for g in item.analysis.groups)


@pytest.mark.parametrize("shape", ["N", "N,7", "N,6,7"])
def test_key_padding_mask_stays_and_counterpart_reads_it(shape):
    model = multi(5, extra=f", int32[{shape}] m", inputs=", m", data=("x", "z", "m"))
    assert_counterpart(model)
    assert sizes(assert_certified(model)) == [4, 5, 8]


def test_all_outputs_and_past_of_multi_head_attention():
    text = """g (float[N,2,12] x, float[N,4,3,8] pk, float[N,4,3,8] pv, float[12,32] wq, float[12,32] wk,
       float[12,32] wv, float[1,4,2,5] r, float[32,4] wo)
    => (float[N,2,4] y, float[N,4,5,8] nk, float[N,4,5,8] nv) {
      q = MatMul(x, wq)
      k = MatMul(x, wk)
      v = MatMul(x, wv)
      a, nk, nv = com.microsoft.MultiHeadAttention<num_heads=4, unidirectional=1>(q, k, v, , , r, pk, pv)
      y = MatMul(a, wo)
    }"""
    model = contrib_model(text, data=("x", "pk", "pv"))
    assert_counterpart(model)
    item = analysed(model)
    assert sizes(item) == []
    assert "input 'pk' of the model" in item.reasons("matmul_0")


def test_keys_and_values_with_heads_apart_go_with_one_size():
    text = """g (float[N,6,12] x, float[12,32] wq, float[12,32] wk, float[12,32] wv, int64[4] s, float[32,4] wo)
    => (float[N,6,4] y) {
      q = MatMul(x, wq)
      k0 = MatMul(x, wk)  k1 = Reshape(k0, s)  k = Transpose<perm=[0,2,1,3]>(k1)
      v0 = MatMul(x, wv)  v1 = Reshape(v0, s)  v = Transpose<perm=[0,2,1,3]>(v1)
      a = com.microsoft.MultiHeadAttention<num_heads=4>(q, k, v)
      y = MatMul(a, wo)
    }"""
    model = contrib_model(text, values={"s": np.array([0, 0, 4, 8])})
    assert_counterpart(model)
    assert sizes(assert_certified(model)) == [4, 8]


def test_packed_keys_and_values_freeze_the_node_with_the_reason():
    text = """g (float[N,6,12] x, float[12,32] wq, float[12,64] wkv, int64[5] s, float[32,4] wo) => (float[N,6,4] y) {
      q = MatMul(x, wq)
      k0 = MatMul(x, wkv)
      kv = Reshape(k0, s)
      a = com.microsoft.MultiHeadAttention<num_heads=4>(q, kv)
      y = MatMul(a, wo)
    }"""
    proto = contrib_model(text, values={"s": np.array([0, 0, 4, 2, 8])})
    shapes = {
        "x": (2, 6, 12), "q": (2, 6, 32), "k0": (2, 6, 64), "kv": (2, 6, 4, 2, 8), "a": (2, 6, 32), "y": (2, 6, 4),
    }  # fmt: skip
    analysis = analyse(load_model(proto), ConcreteShapes(shapes, None, 2))
    assert not analysis.groups
    assert any("packed in one tensor" in reason for f in analysis.frozen for reason in f.reasons)
    with pytest.raises(ModelError, match="packed in one tensor"):
        to_torch(proto)


def test_counterpart_hides_keys_by_both_ends_of_each_sample():
    model = packed(extra=", int32[4] m", inputs=", m", data=("x", "m"))
    feeds = {
        "x": np.random.default_rng(0).standard_normal((2, 6, 12)).astype(np.float32),
        "m": np.array([6, 4, 2, 0], dtype=np.int32),  # ends, then starts
    }
    expected = run(make_session(model, optimize=False, threads=1), feeds)["y"]
    found = predict(to_torch(model), feeds)["y"]
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
