"""Einsum: letters are axes, summed letters must be zero where masked."""

from __future__ import annotations

import pytest
from graphs import model_of
from pruning import analysed, disagreement, random_plan
from twin import twin_error

TOLERANCE = 1e-5

ATTENTION = """g (float[N,5,12] x, float[12,3,4] wq, float[12,3,4] wk, float[12,3,6] wv, float[3,6,7] wo)
=> (float[N,5,7] y) {
  q = Einsum<equation="bsd,dhe->bshe">(x, wq)
  k = Einsum<equation="bsd,dhe->bshe">(x, wk)
  v = Einsum<equation="bsd,dhe->bshe">(x, wv)
  s = Einsum<equation="bshe,bthe->bhst">(q, k)
  p = Softmax<axis=-1>(s)
  c = Einsum<equation="bhst, bthe -> bshe">(p, v)
  y = Einsum<equation="bshe,hed->bsd">(c, wo)
}"""


def test_attention_loses_heads_and_the_width_of_heads():
    item = analysed(model_of(ATTENTION))
    assert sorted(g.size for g in item.analysis.groups) == [3, 4, 6]
    for seed in range(3):
        assert disagreement(item, random_plan(item.analysis, seed)) < TOLERANCE


def test_twin_equals_the_runtime_on_attention():
    assert twin_error(model_of(ATTENTION)) < TOLERANCE


def test_roles_and_costs_are_those_of_matrix_products():
    analysis = analysed(model_of(ATTENTION)).analysis
    roles = {(m.initializer, m.axis): m.role for g in analysis.groups for m in g.members}
    assert roles["wv", 2] == "producer"
    assert roles["wo", 1] == "consumer"
    projections = 5 * 12 * 3 * (4 + 4 + 6)
    assert analysis.macs(analysis.sizes) == projections + 5 * 5 * 3 * (4 + 6) + 5 * 3 * 6 * 7


MLP = """g (float[N,5,12] x, float[12,8] w1, float[8,7] w2) => (float[N,5,7] y) {{
  h = Einsum<equation="{first}">(x, w1)
  a = {activation}(h)
  y = Einsum<equation="{second}">({operands})
}}"""


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("bsd,de", "bes,ef->bsf"),
        ("...d,de->...e", "...e,ef->...f"),
        ("...d,de", "...e,ef"),
        ("bzd,da->bza", "bza,af->bzf"),
    ],
)
def test_implicit_outputs_and_ellipses_keep_the_hidden_channels_free(first, second):
    model = model_of(MLP.format(first=first, second=second, activation="Sigmoid", operands="a, w2"))
    item = analysed(model)
    assert [g.size for g in item.analysis.groups] == [8]
    assert disagreement(item, random_plan(item.analysis)) < TOLERANCE
    assert twin_error(model) < TOLERANCE


def test_three_operands_sum_where_one_of_them_is_zero():
    text = """g (float[N,5,12] x, float[12,8] w1, float[12,8] w2, float[8,7] w3) => (float[N,5,7] y) {
      a = MatMul(x, w1)
      b = MatMul(x, w2)
      s = Sigmoid(a)
      t = Sigmoid(b)
      y = Einsum<equation="nse,nse,ef->nsf">(s, t, w3)
    }"""
    item = analysed(model_of(text))
    assert [g.size for g in item.analysis.groups] == [8]
    assert disagreement(item, random_plan(item.analysis)) < TOLERANCE
    assert twin_error(model_of(text)) < TOLERANCE


def test_sum_over_channels_that_are_not_zero_is_frozen_with_the_reason():
    text = """g (float[N,5,12] x, float[12,8] w1, float[12,8] w2) => (float[N,5,5] y) {
      a = MatMul(x, w1)
      b = MatMul(x, w2)
      s = ACTIVATION(a)
      t = Sigmoid(b)
      y = Einsum<equation="nse,nte->nst">(s, t)
    }"""
    frozen = analysed(model_of(text.replace("ACTIVATION", "Sigmoid")))
    assert frozen.analysis.groups == ()
    assert "sums over channels that are not zero where masked" in frozen.reasons("matmul_0")
    exact = analysed(model_of(text.replace("ACTIVATION", "Tanh")))
    assert [g.size for g in exact.analysis.groups] == [8]
    assert disagreement(exact, random_plan(exact.analysis)) < TOLERANCE


def test_diagonal_keeps_the_same_channels_on_both_axes():
    text = """g (float[N,5,12] x, float[12,8] w1, float[N,3,4] z, float[4,8,8] w2, float[8,6] w3) => (float[N,6] y) {
      a = Einsum<equation="nsd,de->ne">(x, w1)
      m = Einsum<equation="nsd,def->nef">(z, w2)
      d = Einsum<equation="nee->ne">(m)
      s = Mul(a, d)
      y = MatMul(s, w3)
    }"""
    item = analysed(model_of(text, data=("x", "z")))
    assert [g.size for g in item.analysis.groups] == [8]
    assert {(m.initializer, m.axis) for m in item.analysis.groups[0].members} >= {("w2", 1), ("w2", 2)}
    assert disagreement(item, random_plan(item.analysis)) < TOLERANCE
