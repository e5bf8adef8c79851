"""Tile, Expand and ConstantOfShape: repeated channels, and channels made from one number."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import model_of
from pruning import analysed, disagreement, random_plan
from twin import twin_error, with_constants

TOLERANCE = 1e-5


def test_tiled_channels_go_from_every_copy():
    text = """g (float[N,3,6,6] x, float[8,3,1,1] w1, int64[4] repeats, float[4,24,1,1] w2) => (float[N,4,6,6] y) {
      a = Conv(x, w1)
      r = Sigmoid(a)
      t = Tile(r, repeats)
      y = Conv(t, w2)
    }"""
    model = with_constants(model_of(text, data=("x", "repeats")), {"repeats": np.array([1, 3, 1, 1])})
    item = analysed(model)
    (group,) = item.analysis.groups
    consumer = next(m for m in group.members if m.role == "consumer")
    assert np.array_equal(item.analysis.labels(group.name, consumer), np.tile(np.arange(8), 3))
    assert disagreement(item, random_plan(item.analysis)) < TOLERANCE
    assert twin_error(model) < TOLERANCE


FILLED = {
    "a constant shape": "t = Tile(c, repeats)",
    "a computed shape": "d = ReduceMax(c, first)  s = Shape<end=1>(x)  k = Concat<axis=0>(s, wide)  t = Tile(d, k)",
}


@pytest.mark.parametrize("fill", FILLED.values(), ids=FILLED.keys())
def test_single_channel_tiled_to_many_follows_what_it_is_joined_with(fill):
    text = f"""g (float[N,6] x, float[6,8] w1, float[6,1] wc, int64[2] repeats, int64[1] wide, int64[1] first,
       float[8,4] w2) => (float[N,4] y) {{
      a = MatMul(x, w1)
      c = MatMul(x, wc)
      {fill}
      m = Mul(a, t)
      y = MatMul(m, w2)
    }}"""
    model = model_of(text, data=("x", "repeats", "wide", "first"))
    constants = {"repeats": np.array([1, 8]), "wide": np.array([8]), "first": np.array([0])}
    item = analysed(with_constants(model, constants))
    assert [g.size for g in item.analysis.groups] == [8]
    assert disagreement(item, random_plan(item.analysis)) < TOLERANCE


FILLS = {
    "zeros by ConstantOfShape": ("ConstantOfShape(k)", True),
    "ones by ConstantOfShape": ("ConstantOfShape<value=float[1] {1.0}>(k)", False),
    "zeros by Expand": ("Expand(zero, k)", True),
    "ones by Expand": ("Expand(half, k)", False),
}


@pytest.mark.parametrize(("fill", "free"), FILLS.values(), ids=FILLS.keys())
def test_filled_channels_hold_zero_where_the_number_is_zero(fill, free):
    text = f"""g (float[N,6] x, float[6,8] w1, float[6,8] w2, int64[1] wide, float[1] zero, float[1] half)
    => (float[N,N] y) {{
      a = MatMul(x, w1)
      s = Shape<end=1>(x)
      k = Concat<axis=0>(s, wide)
      f = {fill}
      h = Add(a, f)
      c = MatMul(x, w2)
      d = Sigmoid(c)
      t = Transpose<perm=[1,0]>(d)
      y = MatMul(h, t)
    }}"""
    model = model_of(text, data=("x", "wide", "zero", "half"))
    numbers = {"zero": np.zeros(1, np.float32), "half": np.full(1, 0.5, np.float32)}
    item = analysed(with_constants(model, {"wide": np.array([8])} | numbers))
    if free:
        assert [g.size for g in item.analysis.groups] == [8]
        assert disagreement(item, random_plan(item.analysis)) < TOLERANCE
    else:
        assert item.analysis.groups == ()
        assert "sums over channels that are not zero where masked" in item.reasons("matmul_0")


READERS = {
    "ConstantOfShape": "f = ConstantOfShape<value=float[1] {1.0}>(s)",
    "Expand": "f = Expand(u, s)",
    "Expand, where one size is left as it was": """minus = Neg(one)  e = Equal(s, minus)  o = Where(e, one, s)
      f = Expand(u, o)""",
    "Tile": "f = Tile(u, s)",
}


@pytest.mark.parametrize("fill", READERS.values(), ids=READERS.keys())
def test_size_of_a_pruned_tensor_does_not_shrink_what_is_filled_from_it(fill):
    text = f"""g (float[N,6] x, float[6,8] w1, float[8,3] w2, float[1,1] u, int64[1] one)
    => (float[N,3] y, float[N,8] z) {{
      a = MatMul(x, w1)
      s = Shape(a)
      {fill}
      z = Relu(f)
      t = Tanh(a)
      y = MatMul(t, w2)
    }}"""
    model = with_constants(model_of(text, data=("x", "one")), {"one": np.array([1])})
    item = analysed(model)
    assert [g.size for g in item.analysis.groups] == [8]
    for seed in range(3):
        assert disagreement(item, random_plan(item.analysis, seed)) < TOLERANCE


def test_size_that_becomes_numbers_keeps_its_channels():
    text = """g (float[N,6] x, float[6,8] w1, float[8,3] w2, int64 zero, int64 one, int64[1] axes)
    => (float[N,3] y, int64 z) {
      a = MatMul(x, w1)
      s = Shape(a)
      p = ReduceProd<keepdims=0>(s, axes)
      r = Range(zero, p, one)
      z = ReduceMax<keepdims=0>(r)
      t = Tanh(a)
      y = MatMul(t, w2)
    }"""
    numbers = {"zero": np.array(0), "one": np.array(1), "axes": np.array([0])}
    item = analysed(with_constants(model_of(text, data=("x", *numbers)), numbers))
    assert item.analysis.groups == ()
    assert "feeds its size to Range 'range_3' as data" in item.reasons("matmul_0")
