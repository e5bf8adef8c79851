"""torch.compile takes a module in whole, at every batch size, in both modes."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from bridging import convnet, images
from graphs import model_of
from lean_graphs import TRANSFORMER

from onnxprune.bridge import OnnxModule, to_torch

NORMALISED = """g (float[N,3,8,8] x, float[4,3,3,3] w, float[4] s, float[4] b, float[4] m, float[4] v, float[5,4] h)
   => (float[N,5] y) {
  c = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, w)
  n = BatchNormalization(c, s, b, m, v)
  r = Relu(n)
  q = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r)
  p = GlobalAveragePool(q)
  f = Flatten(p)
  y = Gemm<transB=1>(f, h)
}"""


def _module(kind: str) -> OnnxModule:
    if kind == "transformer":
        return to_torch(model_of(TRANSFORMER, ("tokens",)))
    return to_torch(convnet() if kind == "residual" else model_of(NORMALISED))


def _input(kind: str, batch: int) -> torch.Tensor:
    if kind == "transformer":
        return torch.arange(batch * 5).reshape(batch, 5) % 11
    return torch.from_numpy(images(batch))


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def _compare(kind: str, backend: str, *, dynamic: bool | None, tolerance: float = 1e-6) -> None:
    """One training step at each of two batch sizes, compiled and not."""
    module = _module(kind).train()
    twin = copy.deepcopy(module)
    compiled = torch.compile(module, backend=backend, fullgraph=True, dynamic=dynamic)
    for batch in (2, 3):
        x = _input(kind, batch)
        found, expected = compiled(x), twin(x)
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
        found.square().sum().backward()
        expected.square().sum().backward()
    for (name, a), (_, b) in zip(module.named_parameters(), twin.named_parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=10 * tolerance, atol=10 * tolerance, msg=name)
    for (name, a), (_, b) in zip(module.named_buffers(), twin.named_buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance, msg=name)


SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("residual", "transformer")]


@pytest.mark.parametrize("kind", ["normalised", "transformer", SLOW[0]])
def test_a_training_step_is_one_graph_at_static_sizes(kind):
    _compare(kind, "eager", dynamic=False)


@pytest.mark.parametrize("kind", [pytest.param("normalised", marks=pytest.mark.slow), SLOW[1]])
def test_forward_and_backward_are_traced_at_dynamic_sizes(kind):
    _compare(kind, "aot_eager", dynamic=True, tolerance=1e-5)


def test_a_dynamic_batch_is_compiled_once():
    counter = torch._dynamo.testing.CompileCounter()
    compiled = torch.compile(_module("transformer"), backend=counter, fullgraph=True, dynamic=True)
    with torch.no_grad():
        for batch in (2, 3, 5):
            compiled(_input("transformer", batch))
    assert counter.frame_count == 1


def test_a_change_of_mode_is_noticed():
    module = _module("normalised")
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    mean = dict(module.named_buffers())["m"]
    before = mean.clone()
    x = _input("normalised", 4)
    compiled(x)
    assert torch.equal(mean, before)
    module.train()
    compiled(x)
    assert not torch.equal(mean, before)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["residual", "normalised", "transformer"])
def test_inductor_gives_the_same_step(kind):
    _compare(kind, "inductor", dynamic=None, tolerance=1e-4)
