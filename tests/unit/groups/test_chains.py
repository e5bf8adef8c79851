"""From a weight to what keeps its channels: the operators between."""

from __future__ import annotations

import time

import pytest
from graphs import model_of
from pruning import Analysed, analysed

from onnxprune.groups.chains import Chains


def chains(item: Analysed, name: str) -> list[str]:
    """Returns the chains of the frozen axes called `name`."""
    return [chain for axis in item.analysis.frozen for chain in axis.chains if axis.name == name]


def test_chain_leads_over_the_operators_between_to_the_one_that_pins():
    text = """g (float[N,4,6] x, float[6,8] w, float[8] b) => (float[N,8] y) {
      a = MatMul(x, w)
      s = Add(a, b)
      r = Relu(s)
      t = Transpose<perm=[0,2,1]>(r)
      p = Softmax<axis=1>(t)
      axes = Constant<value_ints=[2]>()
      y = ReduceSum<keepdims=0>(p, axes)
    }"""
    item = analysed(model_of(text))
    assert "matmul_0 → Add → Relu → Transpose → Softmax 'softmax_4' normalises over this axis" in chains(
        item, "matmul_0"
    )


def test_chain_against_the_data_has_its_arrows_the_other_way():
    text = """g (float[N,3,6,6] x, float[8,3,3,3] w) => (float[N,8,4,4] y) {
      r = Relu(x)
      s = Sigmoid(r)
      y = Conv(s, w)
    }"""
    item = analysed(model_of(text))
    assert chains(item, "conv_2") == [
        "conv_2 → output 'y' of the model",
        "conv_2 ← Sigmoid ← Relu ← input 'x' of the model",
    ]


def test_chain_turns_where_two_branches_share_a_tensor():
    text = """g (float[N,3,6,6] x, float[8,3,1,1] w, float[4,8,1,1] v) => (float[N,4,6,6] y, float[N,6,6] m) {
      a = Conv(x, w)
      r = Relu(a)
      y = Conv(r, v)
      axes = Constant<value_ints=[1]>()
      m = ReduceMax<keepdims=0>(r, axes)
    }"""
    item = analysed(model_of(text))
    (chain,) = [c for c in chains(item, "conv_0") if "ReduceMax" in c]
    assert chain.startswith("conv_0 → Relu → ReduceMax 'reducemax_")


def test_every_reason_has_its_chain_in_the_same_order():
    text = """g (float[N,3,6,6] x, float[8,3,1,1] w) => (float[N,8,6,6] y) {
      a = Conv(x, w)
      p = Softmax<axis=1>(a)
      y = Softmax<axis=1>(p)
    }"""
    (axis, *_) = analysed(model_of(text)).analysis.frozen
    assert axis.reasons
    assert len(axis.chains) == len(axis.reasons)
    assert all(chain.endswith(reason) for chain, reason in zip(axis.chains, axis.reasons, strict=True))


def test_weight_whose_own_operator_pins_it_has_the_reason_alone():
    text = """g (int64[N,5] x, float[30,8] table, float[8,4] w) => (float[N,5,4] y) {
      e = Gather(table, x)
      y = MatMul(e, w)
    }"""
    item = analysed(model_of(text))
    assert "Gather 'gather_0' looks positions up along this axis" in chains(item, "gather_0")


@pytest.mark.parametrize(("between", "shown"), [(4, 6), (5, 6), (30, 6)])
def test_long_chain_shows_six_operators_and_counts_the_rest(between, shown):
    steps = "\n".join(f"r{i + 1} = Relu(r{i})" for i in range(between))
    text = f"""g (float[N,3,6,6] x, float[8,3,1,1] w) => (float[N,8,6,6] y) {{
      r0 = Conv(x, w)
      {steps}
      y = Softmax<axis=1>(r{between})
    }}"""
    (chain,) = [c for c in chains(analysed(model_of(text)), "conv_0") if "normalises" in c]
    parts = chain.split(" → ")
    left_out = [part for part in parts if part.startswith("…")]
    assert len(parts) - len(left_out) == shown
    assert left_out == ([] if between == 4 else [f"… {between + 2 - shown} more …"])
    assert (parts[0], parts[-1].split()[0]) == ("conv_0", "Softmax")


def test_names_with_quotes_and_spaces_are_found():
    text = """g (float[N,3,6,6] x, float[8,3,1,1] w) => (float[N,8,6,6] y) {
      a = Conv(x, w)
      r = Relu(a)
      y = Softmax<axis=1>(r)
    }"""
    model = model_of(text)
    model.graph.node[2].name = "it's 'the' last"
    reason = "Softmax 'it's 'the' last' normalises over this axis"
    assert f"conv_0 → Relu → {reason}" in chains(analysed(model), "conv_0")


def test_chains_of_a_thousand_nodes_take_a_fraction_of_the_analysis():
    steps = "\n".join(f"c{i} = MatMul(r{i}, w{i})\nr{i + 1} = Relu(c{i})" for i in range(500))
    weights = ", ".join(f"float[8,8] w{i}" for i in range(500))
    item = analysed(model_of(f"g (float[N,8] r0, {weights}) => (float[N,8] r500) {{ {steps} }}", ["r0"]))
    started = time.perf_counter()
    built = Chains(item.analysis.inference)
    for axis in item.analysis.frozen:
        atom = item.analysis.inference.axes(axis.members[0].initializer)[axis.members[0].axis]
        assert built.explain(atom, axis.members, axis.reasons) == axis.chains
    assert time.perf_counter() - started < 0.3
