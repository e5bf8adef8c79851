"""Operators that address positions: what they address stays, what they carry along may go."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import model_of
from pruning import analysed, disagreement, random_plan
from twin import twin_error, with_constants

TOLERANCE = 1e-5

TOKENS = """g (float[N,5,6] x, float[6,8] w1, {inputs}, float[8,4] w2) => (float[{shape}] y) {{
  a = MatMul(x, w1)
  h = Tanh(a)
  {body}
  y = MatMul(t, w2)
}}"""
CONSTANTS = {
    "at": np.array([[1], [3]]),
    "mask": np.array([True, False, True, True, False]),
    "k": np.array([2]),
    "one": np.array(1),
    "third": np.array([3]),
    "first": np.array([0]),
}
DECLARED = "int64[2,1] at, bool[5] mask, int64[1] k, int64 one, int64[1] third, int64[1] first"

CARRYING = {
    "GatherND": "b = Transpose<perm=[1,0,2]>(h)  q = GatherND(b, at)  t = Transpose<perm=[1,0,2]>(q)",
    "ScatterND": """b = Transpose<perm=[1,0,2]>(h)  v = Slice(b, first, k, first)  n = Neg(v)  q = ScatterND(b, at, n)
      t = Transpose<perm=[1,0,2]>(q)""",
    "ScatterND, added": """b = Transpose<perm=[1,0,2]>(h)  v = Slice(b, first, k, first)
      q = ScatterND<reduction="add">(b, at, v)  t = Transpose<perm=[1,0,2]>(q)""",
    "Compress": "t = Compress<axis=1>(h, mask)",
    "CumSum": "t = CumSum(h, one)",
    "CumSum, exclusive and reverse": "t = CumSum<exclusive=1, reverse=1>(h, one)",
    "TopK": "t, places = TopK<axis=1>(h, k)",
    "Trilu": """b = Transpose<perm=[0,2,1]>(h)  u = Unsqueeze(b, third)  v = Trilu<upper=0>(u)  w = Squeeze(v, third)
      t = Transpose<perm=[0,2,1]>(w)""",
}


def tokens(body: str):
    """Returns a model whose hidden channels pass `body`."""
    text = TOKENS.format(inputs=DECLARED, shape="N,T,4", body=body)
    return with_constants(model_of(text, data=("x", *CONSTANTS)), CONSTANTS)


@pytest.mark.parametrize("body", CARRYING.values(), ids=CARRYING.keys())
def test_channels_that_are_carried_along_go(body):
    item = analysed(tokens(body))
    assert [g.size for g in item.analysis.groups] == [8]
    assert disagreement(item, random_plan(item.analysis)) < TOLERANCE
    assert twin_error(tokens(body)) < TOLERANCE


ELEMENTS = """g (float[2,5,6] x, float[6,8] w1, int64[2,3,8] index, float[2,3,8] values, float[8,4] w2)
=> (float[2,T,4] y) {{
  a = MatMul(x, w1)
  h = Tanh(a)
  {body}
  y = MatMul(t, w2)
}}"""
BY_ELEMENT = {
    "GatherElements": "t = GatherElements<axis=1>(h, index)",
    "ScatterElements": "t = ScatterElements<axis=1>(h, index, values)",
    "ScatterElements, added": 't = ScatterElements<axis=1, reduction="add">(h, index, values)',
    "ScatterElements, from the end": "n = Sub(index, index5)  t = ScatterElements<axis=1>(h, n, values)",
}


@pytest.mark.parametrize("body", BY_ELEMENT.values(), ids=BY_ELEMENT.keys())
def test_indices_lose_the_channels_that_the_data_lose(body):
    text = ELEMENTS.format(body=body).replace("float[8,4] w2)", "float[8,4] w2, int64[1] index5)")
    rng = np.random.default_rng(1)
    index = np.argsort(rng.random((2, 5, 8)), axis=1)[:, :3]
    model = with_constants(model_of(text, data=("x", "index", "index5")), {"index": index, "index5": np.array([5])})
    item = analysed(model)
    assert [g.size for g in item.analysis.groups] == [8]
    assert disagreement(item, random_plan(item.analysis)) < TOLERANCE
    assert twin_error(model) < TOLERANCE


ADDRESSED = {
    "GatherND": ("t0 = Transpose<perm=[2,0,1]>(h)  t = GatherND(t0, at)", "looks positions up along this axis"),
    "CumSum": ("t = CumSum(h, two)", "runs along this axis"),
    "TopK": ("t, places = TopK<axis=2>(h, k)", "ranks the entries of this axis"),
    "Trilu": ("t = Trilu(h)", "takes a triangle of this axis"),
    "Compress": ("t = Compress<axis=2>(h, wide)", "selects along this axis"),
    "NonZero": ("t0 = NonZero(h)  t = Cast<to=1>(t0)", "gives positions along this axis"),
    "Unique": ("t0 = Unique<axis=2>(h)  t = ReduceSum(t0)", "compares entries of this axis"),
}


@pytest.mark.parametrize(("body", "reason"), ADDRESSED.values(), ids=ADDRESSED.keys())
def test_addressed_channels_stay_with_the_reason(body, reason):
    text = f"""g (float[3,5,6] x, float[6,8] w1, int64[2,1] at, int64[1] k, int64 two, bool[8] wide, float[1] s)
    => (float y) {{
      a = MatMul(x, w1)
      h = Tanh(a)
      {body}
      r = ReduceMax<keepdims=0>(t)
      y = Mul(r, r)
    }}"""
    constants = {
        "at": CONSTANTS["at"],
        "k": CONSTANTS["k"],
        "two": np.array(2),
        "wide": np.array([True, False] * 4),
    }
    model = with_constants(model_of(text, data=("x", *constants)), constants)
    item = analysed(model)
    assert item.analysis.groups == ()
    assert reason in item.reasons("matmul_0")


def test_reversed_sequences_lose_channels():
    text = """g (float[5,N,6] x, int64[N] lens, float[6,8] w1, float[8,4] w2) => (float[5,N,4] y) {
      a = MatMul(x, w1)
      h = Sigmoid(a)
      t = ReverseSequence(h, lens)
      y = MatMul(t, w2)
    }"""
    item = analysed(model_of(text, data=("x", "lens")))
    assert [g.size for g in item.analysis.groups] == [8]
    assert disagreement(item, random_plan(item.analysis)) < TOLERANCE
    assert twin_error(model_of(text, data=("x", "lens")), largest=5) < TOLERANCE


def test_one_hot_classes_stay_and_the_layer_behind_is_free():
    text = """g (int64[N,5] x, int64 depth, float[2] onoff, float[7,8] w1, float[8,4] w2) => (float[N,5,4] y) {
      o = OneHot(x, depth, onoff)
      a = MatMul(o, w1)
      h = Sigmoid(a)
      y = MatMul(h, w2)
    }"""
    model = model_of(text, data=("x", "depth", "onoff"))
    model = with_constants(model, {"depth": np.array(7), "onoff": np.array([0.0, 1.0], dtype=np.float32)})
    item = analysed(model)
    assert [g.size for g in item.analysis.groups] == [8]
    assert "OneHot 'onehot_0' bakes its size in" in item.reasons("matmul_1")
    assert disagreement(item, random_plan(item.analysis)) < TOLERANCE
    assert twin_error(model, largest=7) < TOLERANCE


def test_constant_condition_over_channels_loses_the_same_channels():
    text = """g (float[N,5,6] x, float[6,8] w1, float[6,8] w2, bool[8] chosen, float[8,4] w3) => (float[N,5,4] y) {
      a = MatMul(x, w1)
      b = MatMul(x, w2)
      s = Where(chosen, a, b)
      h = Sigmoid(s)
      y = MatMul(h, w3)
    }"""
    model = with_constants(model_of(text, data=("x", "chosen")), {"chosen": np.array([True, False] * 4)})
    item = analysed(model)
    assert [g.size for g in item.analysis.groups] == [8]
    assert disagreement(item, random_plan(item.analysis)) < TOLERANCE


def test_diagonal_of_ones_keeps_its_channels():
    text = """g (float[8,6] x, float[6,8] w1, float[8,4] w2) => (float[8,4] y) {
      a = MatMul(x, w1)
      e = EyeLike(a)
      s = Add(a, e)
      h = Tanh(s)
      y = MatMul(h, w2)
    }"""
    item = analysed(model_of(text))
    assert item.analysis.groups == ()
    assert "EyeLike 'eyelike_1' puts ones on a diagonal of this axis" in item.reasons("matmul_0")
    assert twin_error(model_of(text)) < TOLERANCE


def test_products_without_the_entry_itself_start_with_one():
    text = """g (float[N,5,6] x, float[6,8] w1, float[6,8] w2, int64 one) => (float[N,5,5] y) {
      a = MatMul(x, w1)
      t = CumProd<exclusive=1>(a, one)
      b = MatMul(x, w2)
      h = Sigmoid(b)
      y = Einsum<equation="nse,nte->nst">(t, h)
    }"""
    model = model_of(text, data=("x", "one"), opset=26)
    assert analysed(with_constants(model, {"one": np.array(1)})).analysis.groups == ()
