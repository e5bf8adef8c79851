"""Gradients of reductions where the formula has none."""

from __future__ import annotations

import torch
from graphs import model_of

from onnxprune.bridge import to_torch


def test_the_gradient_of_a_length_is_zero_where_the_vector_is():
    module = to_torch(
        model_of("g (float[N,3] x) => (float[N,1] y) { y = ReduceL2<axes=[1], keepdims=1>(x) }", opset=13)
    )
    x = torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, 4.0]], requires_grad=True)
    module(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([[0.0, 0.0, 0.0], [0.6, 0.0, 0.8]]))
