"""Peak of activation memory: by hand on small graphs, polynomials against the recount on cut ones."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from bridging import convnet
from graphs import model_of
from pruning import analysed, random_plan

import onnxprune
from onnxprune.core.errors import BudgetError
from onnxprune.cost.memory import memory_polynomials, peak_memory
from onnxprune.graph import Model, load_model
from onnxprune.groups import prune
from onnxprune.runtime import observe

CHAIN = """g (float[1,3,8,8] x, float[8,3,3,3] w1, float[4,8,1,1] w2, float[4] s) => (float[1,4,8,8] y) {
  a = Conv<pads=[1,1,1,1]>(x, w1)
  r = Relu(a)
  b = Conv(r, w2)
  y = Neg(b)
}"""
BRANCH = """g (float[1,4,8,8] x, float[8,4,1,1] w1, float[8,8,1,1] w2) => (float[1,8,8,8] y) {
  a = Conv(x, w1)
  r = Sigmoid(a)
  b = Conv(r, w2)
  y = Mul(a, b)
}"""
VIEWS = """g (float[2,4,6] x, float[6,10] w, int64[2] s) => (float[8,10] z) {
  y = MatMul(x, w)
  z = Reshape(y, s)
}"""


def peak(model: Model, batch: int = 1) -> float:
    rng = np.random.default_rng(0)
    feeds = {
        spec.name: rng.standard_normal([batch if isinstance(d, str) else d for d in spec.shape]).astype(spec.dtype)
        for spec in model.inputs()
    }
    (seen,) = observe(model, feeds)
    return peak_memory(model, seen.shapes, seen.dtypes)


def test_a_chain_needs_two_neighbours_at_once():
    # x 3 and a 8 channels, then r (in the place of a) and b 4; y in the place of b
    assert peak(load_model(model_of(CHAIN))) == 4 * 64 * (8 + 4)


def test_what_is_read_later_stays_and_is_not_written_over():
    # a is read by Mul at the end: Sigmoid cannot take its place, and a, r and b are there at once
    assert peak(load_model(model_of(BRANCH))) == 4 * 64 * 24


def test_a_view_takes_no_memory():
    proto = model_of(VIEWS)
    for tensor in proto.graph.initializer:
        if tensor.name == "s":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array([8, 10], np.int64), "s"))
    assert peak(load_model(proto)) == 4 * (2 * 4 * 6 + 2 * 4 * 10) / 2


@pytest.mark.parametrize("seed", range(4))
def test_the_largest_polynomial_is_the_recount_of_what_was_cut(seed):
    item = analysed(convnet())
    polynomials = memory_polynomials(item.analysis, item.model)
    plan = random_plan(item.analysis, seed)
    counts = {name: len(kept) for name, kept in plan.kept.items()}
    expected = max(poly(counts) for poly in polynomials.values())
    for batch in (1, 3):
        assert peak(prune(item.model, item.analysis, plan), batch) == pytest.approx(expected)


def test_nodes_that_are_never_the_worst_are_left_out():
    polynomials = memory_polynomials(*(lambda item: (item.analysis, item.model))(analysed(convnet())))
    assert 1 <= len(polynomials) <= 4
    assert all(name.startswith("memory at ") for name in polynomials)


@pytest.mark.usefixtures("quick_latency")
@pytest.mark.parametrize("share", [0.4, 0.7])
def test_a_memory_budget_is_met(tmp_path, share):
    path = tmp_path / "net.onnx"
    onnx.save(convnet(), path)
    report = onnxprune.compress(path, memory=share, align=1, out=tmp_path / "slim.onnx").report
    whole, slim = (peak(load_model(tmp_path / name)) for name in ("net.onnx", "slim.onnx"))
    assert 0.9 * share * whole <= slim <= share * whole
    (budget,) = report["budgets"]
    assert budget["resource"] == "memory"


def test_memory_out_of_reach_names_the_node(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(convnet(), path)
    with pytest.raises(BudgetError, match=r"memory at .* of .*B .*is out of reach"):
        onnxprune.compress(path, memory=0.01, out=tmp_path / "slim.onnx")
