"""Fused steps: same outputs, same gradients, same names; and what must not be fused."""

from __future__ import annotations

import pytest
import torch
from graphs import model_of
from lean_graphs import PATTERNS, Pattern
from onnx import helper

from onnxprune.bridge import OnnxModule, to_torch
from onnxprune.bridge.fusions import find_fusions
from onnxprune.bridge.lean import compile_lean


def _module(pattern: Pattern) -> OnnxModule:
    return to_torch(model_of(pattern.text, opset=pattern.opset))


def _input(pattern: Pattern) -> torch.Tensor:
    return torch.randn(pattern.shape, generator=torch.Generator().manual_seed(1), requires_grad=True)


def _results(module: OnnxModule, pattern: Pattern) -> dict[str, torch.Tensor]:
    """Output and all gradients."""
    x = _input(pattern)
    y = module(x)
    weights = torch.linspace(0.5, 1.5, y.numel()).reshape(y.shape)
    names, parameters = zip(("x", x), *module.named_parameters(), strict=True)
    return {"y": y, **dict(zip(names, torch.autograd.grad((y * weights).sum(), parameters), strict=True))}


@pytest.mark.parametrize("name", PATTERNS)
def test_output_and_gradients_are_those_of_the_single_nodes(name):
    pattern = PATTERNS[name]
    module = _module(pattern)
    assert module._program.slots[pattern.inner] in module._program.hidden
    fused = _results(module, pattern)
    module._program = compile_lean(module.model, lambda: False, fuse=False)
    plain = _results(module, pattern)
    assert fused.keys() == plain.keys()
    for key, expected in plain.items():
        torch.testing.assert_close(fused[key], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", PATTERNS)
def test_inner_tensors_can_be_watched(name):
    pattern = PATTERNS[name]
    module = _module(pattern)
    expected = module(_input(pattern))
    with module.record([pattern.inner]) as tape:
        found = module(_input(pattern))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert tape[pattern.inner].numel() > 0
    assert module._unfused() is module._program


@pytest.mark.parametrize("name", PATTERNS)
def test_an_inner_tensor_that_is_a_graph_output_stays(name):
    pattern = PATTERNS[name]
    proto = model_of(pattern.text, opset=pattern.opset)
    watched = to_torch(proto)
    with watched.record([pattern.inner]) as tape:
        watched(_input(pattern))
    shape = list(tape[pattern.inner].shape)
    proto.graph.output.append(helper.make_tensor_value_info(pattern.inner, 1, shape))
    module = to_torch(proto)
    assert module._program.slots[pattern.inner] not in module._program.hidden
    assert len(module(_input(pattern))) == 2


def test_relu_does_not_write_into_the_view_that_a_linear_step_gives():
    text = """g (float[N,3,4] x, float[4,6] w, float[6] b) => (float[N,3,6] y) {
      m = MatMul(x, w)
      a = Add(m, b)
      y = Relu(a)
    }"""
    (linear,) = find_fusions(to_torch(model_of(text)).model)
    assert [node.op for node in linear.nodes] == ["Add", "MatMul"]


def test_replaced_values_reach_a_fused_step():
    pattern = PATTERNS["linear"]
    module = _module(pattern)
    x = _input(pattern)
    mask = torch.tensor([1.0, 0, 1, 1, 0, 1], requires_grad=True)
    parameters = dict(module.named_parameters())
    values = {name: parameters[name] * mask for name in ("w", "b")}
    y = torch.func.functional_call(module, values, (x,))
    assert not y[..., [1, 4]].any()
    (gradient,) = torch.autograd.grad(y.sum(), mask)
    assert gradient.abs().min() > 0


NOT_LINEAR = """g (float[N,4] x, float[4,6] w, float[1] b) => (float[N,6] y) { m = MatMul(x, w)  y = Add(m, b) }"""
OTHER_GATE = """g (float[N,4] x, float[4] w) => (float[N,4] y) { z = Add(x, w)  s = Sigmoid(z)  y = Mul(s, x) }"""
READ_TWICE = "g (float[N,4] x) => (float[N,4] y) { s = Sigmoid(x)  m = Mul(s, x)  y = Add(m, s) }"
OVER_ROWS = """g (float[N,2,4,4] x) => (float[N,2,4,4] y) {
  s = MatMul(x, x)  p = Softmax<axis=2>(s)  y = MatMul(p, x)
}"""
KEPT_FOR_A_GRADIENT = "g (float[N,4] x) => (float[N,4] y) { s = Tanh(x)  y = Relu(s) }"
INPUT = "g (float[N,4] x) => (float[N,4] y) { y = Relu(x) }"
OTHER_SLOPE = "g (float[N,4] x) => (float[N,4] y) { h = HardSigmoid(x)  y = Mul(x, h) }"


MORE_AXES = """g (float[N,4] x) => (float[A,B,C,4] y) {
  root = Constant<value = float {1.4142135}>()
  one = Constant<value = float {1.0}>()
  half = Constant<value = float[1,1,1,1] {0.5}>()
  d = Div(x, root)
  e = Erf(d)
  p = Add(e, one)
  m = Mul(x, p)
  y = Mul(m, half)
}"""


@pytest.mark.parametrize(
    "text", [NOT_LINEAR, OTHER_GATE, READ_TWICE, OVER_ROWS, OTHER_SLOPE, KEPT_FOR_A_GRADIENT, INPUT, MORE_AXES]
)
def test_what_only_looks_like_a_pattern_is_left_alone(text):
    module = to_torch(model_of(text))
    assert find_fusions(module.model) == []
    assert module._program.hidden == frozenset()


MASKED = """g (float[N,1,5,4] x, float[4,4] w, float[SHAPE] mask) => (float[N,M,5,4] y) {
  k = MatMul(x, w)
  t = Transpose<perm=[0,1,3,2]>(k)
  s = MatMul(x, t)
  m = Add(s, mask)
  p = Softmax<axis=-1>(m)
  y = MatMul(p, x)
}"""


@pytest.mark.parametrize(
    ("mask", "batch", "expected"), [("3,2,1,5", 1, (3, 2, 5, 4)), ("5", 2, (2, 1, 5, 4)), ("5,1", 2, (2, 1, 5, 4))]
)
def test_attention_takes_every_mask_that_broadcasts(mask, batch, expected):
    module = to_torch(model_of(MASKED.replace("SHAPE", mask)))
    assert len(find_fusions(module.model)) == 1
    x = torch.randn(batch, 1, 5, 4, generator=torch.Generator().manual_seed(0))
    fused = module(x)
    module._program = compile_lean(module.model, lambda: False, fuse=False)
    torch.testing.assert_close(fused, module(x))
    assert fused.shape == expected
