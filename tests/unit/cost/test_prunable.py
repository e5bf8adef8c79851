"""The share of a cost that lies on channels that can go."""

from __future__ import annotations

import pytest
from graphs import model_of
from pruning import analysed

from onnxprune.axes import Poly
from onnxprune.cost.prunable import group_shares, prunable_share

A, B = Poly.variable("a"), Poly.variable("b")
SIZES = {"a": 4, "b": 5}
COST = A * B * 2 + B * 3 + Poly.constant(45)  # 40 + 15 + 45


def test_share_counts_what_runs_over_at_least_one_group():
    assert prunable_share(COST, SIZES, ["a", "b"]) == pytest.approx(0.55)
    assert prunable_share(COST, SIZES, ["a"]) == pytest.approx(0.40)
    assert prunable_share(COST, SIZES, []) == 0


def test_what_lies_between_two_groups_counts_for_both():
    assert group_shares(COST, SIZES) == pytest.approx({"a": 0.40, "b": 0.55})


def test_model_without_cost_has_no_share():
    assert prunable_share(Poly.constant(0), {}, []) == 0
    assert group_shares(Poly.constant(0), {"a": 4}) == {"a": 0}


def test_shares_of_a_model_are_those_of_its_layers():
    text = """g (float[N,3,4,4] x, float[8,3,1,1] w, float[6,8,1,1] v, float[4,6,1,1] u, float[4,3,1,1] s)
       => (float[N,4,4,4] y, float[N,4,4,4] z) {
      a = Conv(x, w)
      b = Conv(a, v)
      y = Conv(b, u)
      z = Conv(x, s)
    }"""
    analysis = analysed(model_of(text)).analysis
    total = 24 + 48 + 24 + 12
    for cost in (analysis.macs, analysis.params):
        assert group_shares(cost, analysis.sizes) == pytest.approx({"conv_0": 72 / total, "conv_1": 72 / total})
        assert prunable_share(cost, analysis.sizes, analysis.sizes) == pytest.approx(96 / total)
