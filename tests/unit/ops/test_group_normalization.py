"""GroupNormalization, as a node and as exporters take it apart."""

from __future__ import annotations

import numpy as np
import pytest
from contrib import assert_certified, assert_counterpart, contrib_model, sizes
from pruning import analysed, plan_of

from onnxprune.groups import prune

NODE = """g (float[N,3,6,6] x, float[12,3,3,3] w1, float[VECTOR] s, float[VECTOR] b, float[5,12,1,1] w2)
=> (float[N,5,6,6] y) {
  a = Conv<pads=[1,1,1,1]>(x, w1)
  n = GroupNormalization<num_groups=4>(a, s, b)
  r = Sigmoid(n)
  y = Conv(r, w2)
}"""
FORMS = {18: "4", 21: "12"}
SPLIT = "shape = Constant<value_ints=[0,4,-1]>()  f = Reshape(a, shape)"
LIKE = {"constant": "Constant<value_ints=[0,12,6,6]>()", "computed": "Shape(a)"}
MEANS = """axes = Constant<value_ints=[-1]>()  mean = ReduceMean<keepdims=1>(f, axes)  d = Sub(f, mean)
  q = Mul(d, d)  var = ReduceMean<keepdims=1>(q, axes)  ve = Add(var, eps)  sd = Sqrt(ve)  i = Div(d, sd)"""
DECOMPOSED = {
    "instance": "i = InstanceNormalization(f, one, nought)",
    "layer": "i = LayerNormalization<axis=-1>(f, flat, flat0)",
    "means": MEANS,
}


def node_model(opset: int):
    return contrib_model(NODE.replace("VECTOR", FORMS[opset]), opset=opset)


def decomposed(middle: str, like: str = "constant"):
    text = f"""g (float[N,3,6,6] x, float[12,3,3,3] w1, float[4] one, float[4] nought, float[108] flat,
       float[108] flat0, float[1] eps, float[12,1,1] gamma, float[12,1,1] beta, float[5,12,1,1] w2)
    => (float[N,5,6,6] y) {{
      a = Conv<pads=[1,1,1,1]>(x, w1)
      {SPLIT}
      {middle}
      like = {LIKE[like]}  j = Reshape(i, like)
      m = Mul(j, gamma)  n = Add(m, beta)
      r = Sigmoid(n)
      y = Conv(r, w2)
    }}"""
    values = {"one": np.ones(4), "nought": np.zeros(4), "eps": np.full(1, 1e-5)}
    return contrib_model(text, values={k: v.astype(np.float32) for k, v in values.items()})


@pytest.mark.parametrize("opset", FORMS)
def test_whole_groups_go_exactly_and_channels_within_are_frozen(opset):
    item = assert_certified(node_model(opset))
    assert sizes(item) == [4]
    assert "takes statistics over the channels of a group" in item.reasons("conv_0")


@pytest.mark.parametrize("opset", FORMS)
def test_channels_within_groups_go_approximately(opset):
    item = assert_certified(node_model(opset), approximate=True)
    assert sizes(item) == [3, 4]
    within = next(g for g in item.analysis.groups if g.size == 3)
    assert "takes statistics over the channels of a group" in within.approximate
    assert next(g for g in item.analysis.groups if g.size == 4).approximate == ""


def test_number_of_groups_is_rewritten_with_all_slices():
    item = analysed(node_model(21), approximate=True)
    groups, within = (next(g.name for g in item.analysis.groups if g.size == n) for n in (4, 3))
    slim = prune(item.model, item.analysis, plan_of(item.analysis, {groups: (0, 2), within: (1, 2)}))
    kept = [1, 2, 7, 8]
    assert next(n for n in slim.nodes if n.op == "GroupNormalization").attrs["num_groups"] == 2
    for name, axis in (("w1", 0), ("s", 0), ("b", 0), ("w2", 1)):
        assert np.array_equal(slim.read(name), np.take(item.model.read(name), kept, axis)), name


@pytest.mark.parametrize("opset", FORMS)
def test_one_group_or_one_channel_per_group(opset):
    for count, expected in ((1, []), (12, [12])):
        text = NODE.replace("VECTOR", str(count if opset < 21 else 12)).replace("num_groups=4", f"num_groups={count}")
        assert sizes(analysed(contrib_model(text, opset=opset))) == expected


@pytest.mark.parametrize("opset", FORMS)
def test_counterpart_gives_onnxruntimes_outputs(opset):
    assert_counterpart(node_model(opset))


@pytest.mark.parametrize("like", LIKE)
@pytest.mark.parametrize("form", ["instance", "layer"])
def test_decomposed_form_loses_whole_groups_exactly(form, like):
    item = assert_certified(decomposed(DECOMPOSED[form], like))
    assert sizes(item) == [4]
    assert "takes statistics over this axis" in item.reasons("conv_0")


@pytest.mark.parametrize("like", LIKE)
@pytest.mark.parametrize("form", ["instance", "layer"])
def test_decomposed_form_loses_channels_within_approximately(form, like):
    item = assert_certified(decomposed(DECOMPOSED[form], like), approximate=True)
    assert sizes(item) == [3, 4]
    within = next(g for g in item.analysis.groups if g.size == 3)
    assert "takes statistics over this axis" in within.approximate


def test_form_made_of_means_loses_whole_groups_exactly_as_its_divisor_never_vanishes():
    item = assert_certified(decomposed(DECOMPOSED["means"]))
    assert sizes(item) == [4]
    assert "takes statistics over this axis" in item.reasons("conv_0")
    assert sizes(assert_certified(decomposed(DECOMPOSED["means"]), approximate=True)) == [3, 4]


def test_divisor_that_may_vanish_keeps_the_channels_it_runs_over():
    item = analysed(decomposed(DECOMPOSED["means"].replace("ve = Add(var, eps)", "ve = Sub(var, eps)")))
    assert sizes(item) == []
    assert "divides by channels that may be zero where masked" in item.reasons("conv_0")
