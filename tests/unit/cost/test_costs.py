"""Polynomials against recounts of graphs that were cut, for every registered cost."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from graphs import model_of
from recount import macs, params

from onnxprune.core.plan import Plan
from onnxprune.cost import COSTS
from onnxprune.graph import Model, load_model
from onnxprune.groups import Analysis, ConcreteShapes, analyse, prune

BOTTLENECK = """g (float[4,3,8,8] x, float[16,3,3,3] w0, float[16] b0, float[48,16,1,1] w1, float[48,1,3,3] wd,
  float[48] bd, float[16,48,1,1] w2, float[10,16] wf, float[10] bf) => (float[4,10] y) {
  a = Conv<pads=[1,1,1,1]>(x, w0, b0)
  r = Relu(a)
  e = Conv(r, w1)
  d = Conv<group=48, pads=[1,1,1,1], strides=[2,2]>(e, wd, bd)
  q = Relu(d)
  c = Conv(q, w2)
  s = AveragePool<kernel_shape=[2,2], strides=[2,2]>(r)
  t = Add(c, s)
  p = GlobalAveragePool(t)
  f = Flatten(p)
  y = Gemm<transB=1>(f, wf, bf)
}"""


def shapes_of(proto: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Shapes by ONNX's own inference; the model has no dynamic dimension."""
    graph = onnx.shape_inference.infer_shapes(proto, strict_mode=True).graph
    values = [*graph.input, *graph.output, *graph.value_info]
    found = {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in values}
    return found | {t.name: tuple(t.dims) for t in graph.initializer}


@pytest.fixture(scope="module")
def subject() -> tuple[Model, Analysis]:
    proto = model_of(BOTTLENECK)
    model = load_model(proto)
    return model, analyse(model, ConcreteShapes(first=shapes_of(proto), second=None, batch=4))


@pytest.fixture(params=COSTS.names())
def cost(request: pytest.FixtureRequest):
    return COSTS.get(request.param)()


def test_polynomial_equals_the_recount_when_nothing_is_cut(cost, subject):
    model, analysis = subject
    whole = cost.polynomial(analysis, model)(analysis.sizes)
    assert whole == cost.recount(model, shapes_of(model.to_proto()))


def test_polynomial_equals_the_recount_when_groups_are_cut(cost, subject):
    model, analysis = subject
    assert sorted(analysis.sizes.values()) == [16, 48]
    rng = np.random.default_rng(1)
    for _ in range(3):
        kept = {n: tuple(np.sort(rng.permutation(s)[: rng.integers(1, s)]).tolist()) for n, s in analysis.sizes.items()}
        slim = prune(model, analysis, Plan("", analysis.sizes, kept))
        counts = {name: len(channels) for name, channels in kept.items()}
        expected = cost.polynomial(analysis, model)(counts)
        assert cost.recount(slim, shapes_of(slim.to_proto())) == pytest.approx(expected, rel=1e-12)


def test_figures_are_those_of_an_independent_count(subject):
    model, _ = subject
    proto = model.to_proto()
    shapes = shapes_of(proto)
    assert COSTS.get("flops")().recount(model, shapes) == macs(proto) / 4
    assert COSTS.get("params")().recount(model, shapes) == params(proto)
    assert COSTS.get("size")().recount(model, shapes) == 4 * params(proto)


def test_macs_and_flops_are_one_cost():
    assert COSTS.get("flops") is COSTS.get("macs")


def test_operator_without_a_rule_adds_a_constant():
    proto = model_of(
        """g (float[2,3,4,4] x, uint8[5,5,1,1] k, float[8,3,1,1] w0, float[5,8,1,1] w1) => (int32[2,5,4,4] y) {
          a = Conv(x, w0)
          b = Conv(a, w1)
          q = Cast<to=2>(b)
          y = ConvInteger(q, k)
        }""",
        data=("x", "k"),
    )
    model = load_model(proto)
    shapes = shapes_of(proto)
    analysis = analyse(model, ConcreteShapes(first=shapes, second=None, batch=2))
    assert analysis.unknown_ops == {"ConvInteger": 1}
    polynomial = COSTS.get("flops")().polynomial(analysis, model)
    (group,) = analysis.groups
    assert polynomial({group.name: 8}) == 16 * (24 + 40) + 5 * 5 * 16
    assert polynomial({group.name: 1}) == 16 * (3 + 5) + 5 * 5 * 16
    assert COSTS.get("flops")().recount(model, shapes) == polynomial(analysis.sizes)
