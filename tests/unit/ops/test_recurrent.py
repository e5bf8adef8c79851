"""LSTM, GRU and RNN: hidden units go in all gates and directions at once."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from graphs import model_of
from pruning import analysed, disagreement, random_plan
from twin import twin_error, with_constants

from onnxprune.bridge import to_torch

TOLERANCE = 1e-5
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def stack(op: str, attributes: str = "", between: str = "u = Identity(f)") -> str:
    """Returns two bidirectional layers as exporters write them, a classifier behind."""
    rows = GATES[op] * 6
    return f"""g (float[7,N,5] x, float[2,{rows},5] w1, float[2,{rows},6] r1, float[2,{2 * rows}] b1,
       float[2,{rows},12] w2, float[2,{rows},6] r2, float[2,{2 * rows}] b2, float[12,4] wo, int64[3] flat)
    => (float[7,N,4] y) {{
      s = {op}<hidden_size=6, direction="bidirectional"{attributes}>(x, w1, r1, b1)
      t = Transpose<perm=[0,2,1,3]>(s)
      f = Reshape(t, flat)
      {between}
      v = {op}<hidden_size=6, direction="bidirectional"{attributes}>(u, w2, r2, b2)
      w = Transpose<perm=[0,2,1,3]>(v)
      h = Reshape(w, flat)
      y = MatMul(h, wo)
    }}"""


def stacked(op: str, attributes: str = "", between: str = "u = Identity(f)"):
    """Returns the model of `stack`."""
    return with_constants(model_of(stack(op, attributes, between), data=("x", "flat")), {"flat": np.array([0, 0, -1])})


ATTRIBUTES = {
    "LSTM": [
        "",
        ", clip=0.4",
        ", input_forget=1",
        ', activations=["Sigmoid","Softsign","Relu","Sigmoid","Tanh","Elu"]',
    ],
    "GRU": ["", ", linear_before_reset=1", ", clip=0.4", ", linear_before_reset=1, clip=0.4"],
    "RNN": ["", ', activations=["Relu","ScaledTanh"], activation_alpha=[0.7], activation_beta=[0.9]'],
}
VARIANTS = [(op, attributes) for op, each in ATTRIBUTES.items() for attributes in each]


@pytest.mark.parametrize(("op", "attributes"), VARIANTS)
def test_each_layer_loses_units_of_its_own(op, attributes):
    item = analysed(stacked(op, attributes))
    assert [(g.size, g.multiple) for g in item.analysis.groups] == [(6, 2 * GATES[op])] * 2
    for seed in range(3):
        assert disagreement(item, random_plan(item.analysis, seed)) < TOLERANCE


@pytest.mark.parametrize(("op", "attributes"), VARIANTS)
def test_twin_equals_the_runtime(op, attributes):
    assert twin_error(stacked(op, attributes), batch=3) < TOLERANCE


def test_costs_are_those_of_both_products_of_both_directions():
    analysis = analysed(stacked("LSTM")).analysis
    layers = 2 * 7 * 24 * ((5 + 6) + (12 + 6))
    assert analysis.macs(analysis.sizes) * analysis.inference.shapes.batch == analysis.inference.shape("x")[1] * (
        layers + 7 * 12 * 4
    )


def test_residual_layers_share_their_units():
    text = """g (float[7,N,5] x, float[1,18,5] w1, float[1,18,6] r1, float[1,18,6] w2, float[1,18,6] r2,
       float[1,36] b2, float[6,4] wo, int64[1] one) => (float[7,N,4] y) {
      s = GRU<hidden_size=6>(x, w1, r1)
      f = Squeeze(s, one)
      v = GRU<hidden_size=6>(f, w2, r2, b2)
      h = Squeeze(v, one)
      a = Add(h, f)
      y = MatMul(a, wo)
    }"""
    item = analysed(with_constants(model_of(text, data=("x", "one")), {"one": np.array([1])}))
    assert [g.size for g in item.analysis.groups] == [6]
    assert disagreement(item, random_plan(item.analysis)) < TOLERANCE


def states(activation: str):
    """Returns a layer that starts from what another layer computed and has peepholes."""
    text = f"""g (float[7,N,5] x, float[N,4] z, float[4,6] wh, float[1,24,5] w1, float[1,24,6] r1, float[1,48] b1,
       float[1,18] p1, float[6,4] wo, int64[1] first) => (float[N,4] y, float[N,4] k) {{
      i = MatMul(z, wh)
      j = {activation}(i)
      h0 = Unsqueeze(j, first)
      s, l, c = LSTM<hidden_size=6>(x, w1, r1, b1, , h0, h0, p1)
      f = Squeeze(l, first)
      e = Squeeze(c, first)
      y = MatMul(f, wo)
      k = MatMul(e, wo)
    }}"""
    return with_constants(model_of(text, data=("x", "z", "first")), {"first": np.array([0])})


@pytest.mark.parametrize("activation", ["Tanh", "Sigmoid"])
def test_first_states_and_peepholes_lose_the_same_units(activation):
    item = analysed(states(activation))
    assert [g.size for g in item.analysis.groups] == [6]
    assert item.group("matmul_0") == item.group("lstm_3")
    assert disagreement(item, random_plan(item.analysis)) < TOLERANCE
    assert twin_error(states(activation)) < TOLERANCE


@pytest.mark.parametrize(
    ("activations", "free"),
    [('"Sigmoid","Tanh","Tanh"', True), ('"Sigmoid","Sigmoid","Tanh"', False), ('"Sigmoid","Tanh","Softplus"', False)],
)
def test_units_that_do_not_rest_at_zero_are_frozen_where_they_are_summed(activations, free):
    text = f"""g (float[7,N,5] x, float[1,24,5] w1, float[1,24,6] r1, int64[1] one) => (float[N,7,7] y) {{
      s = LSTM<hidden_size=6, activations=[{activations}]>(x, w1, r1)
      f = Squeeze(s, one)
      q = Transpose<perm=[1,0,2]>(f)
      k = Transpose<perm=[1,2,0]>(f)
      y = MatMul(q, k)
    }}"""
    model = with_constants(model_of(text, data=("x", "one")), {"one": np.array([1])})
    item = analysed(model)
    if free:
        assert [g.size for g in item.analysis.groups] == [6]
        assert disagreement(item, random_plan(item.analysis)) < TOLERANCE
    else:
        assert item.analysis.groups == ()
        assert "sums over channels that are not zero where masked" in item.reasons("lstm_0")


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_twin_stops_where_each_sequence_ends(op, direction):
    count = 2 if direction == "bidirectional" else 1
    rows = GATES[op] * 6
    text = f"""g (float[7,4,5] x, float[{count},{rows},5] w1, float[{count},{rows},6] r1, float[{count},{2 * rows}] b1,
       int32[4] lens) => (float[7,{count},4,6] y, float[{count},4,6] h) {{
      y, h = {op}<hidden_size=6, direction="{direction}">(x, w1, r1, b1, lens)
    }}"""
    model = model_of(text, data=("x", "lens"))
    model = with_constants(model, {"lens": np.array([7, 2, 5, 1], dtype=np.int32)})
    assert twin_error(model) < TOLERANCE


@pytest.mark.parametrize(("op", "attributes"), [("LSTM", ""), ("LSTM", ", clip=0.4"), ("GRU", ""), ("RNN", "")])
def test_every_weight_has_a_gradient_by_kernel_and_by_steps(op, attributes):
    module = to_torch(stacked(op, attributes))
    module(torch.randn(7, 2, 5)).square().sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in module.parameters())


class Tagger(torch.nn.Module):
    """Two bidirectional layers and a classifier."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.body = getattr(torch.nn, kind)(5, 6, num_layers=2, bidirectional=True, batch_first=True)
        self.head = torch.nn.Linear(12, 4)

    def forward(self, x):
        return self.head(self.body(x)[0])


EXPORTS = [(kind, False) for kind in ("LSTM", "GRU", "RNN")]
EXPORTS += [pytest.param(kind, True, marks=pytest.mark.slow) for kind in ("LSTM", "GRU")]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "dynamo"), EXPORTS)
def test_each_layer_that_torch_exports_loses_units_of_its_own(kind, dynamo, tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "tagger.onnx"
    names = {"input_names": ["x"], "output_names": ["y"], "dynamo": dynamo}
    if dynamo:
        free = {"dynamic_shapes": ({0: torch.export.Dim("batch")},), "verbose": False}
    else:
        free = {"dynamic_axes": {"x": {0: "batch"}}}
    torch.onnx.export(Tagger(kind).eval(), (torch.randn(2, 7, 5),), path, **names, **free)
    model = onnx.load(path)
    item = analysed(model)
    assert [(g.size, g.multiple) for g in item.analysis.groups] == [(6, 2 * GATES[kind])] * 2
    for seed in range(2):
        assert disagreement(item, random_plan(item.analysis, seed)) < TOLERANCE
    assert twin_error(model) < TOLERANCE


def test_layers_that_start_from_one_filled_tensor_are_not_coupled():
    text = """g (float[7,N,5] x, float[1,18,5] w1, float[1,18,6] r1, float[1,18,6] w2, float[1,18,6] r2, float[6,4] wo,
       int64[1] p, int64[1] q, int64[1] e, int64[1] one, int64[1] size) => (float[7,N,4] y) {
      shape = Shape<start=1, end=2>(x)
      count = Add(one, one)
      all = Concat<axis=0>(count, shape, size)
      h = ConstantOfShape(all)
      h1 = Slice(h, p, q, p)
      h2 = Slice(h, q, e, p)
      s = GRU<hidden_size=6>(x, w1, r1, , , h1)
      f = Squeeze(s, one)
      v = GRU<hidden_size=6>(f, w2, r2, , , h2)
      g = Squeeze(v, one)
      y = MatMul(g, wo)
    }"""
    model = model_of(text, data=("x", "p", "q", "e", "one", "size"))
    numbers = {"p": 0, "q": 1, "e": 2, "one": 1, "size": 6}
    item = analysed(with_constants(model, {name: np.array([number]) for name, number in numbers.items()}))
    assert [g.size for g in item.analysis.groups] == [6, 6]
    for seed in range(3):
        assert disagreement(item, random_plan(item.analysis, seed)) < TOLERANCE
