"""The PyTorch counterpart of Resize: what it reads of its inputs, and what a compiler makes of it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from bridging import answers, gap
from graphs import model_of

from onnxprune.bridge import to_torch

BY_SCALES = """g (float[N,3,H,W] x) => (float[N,3,P,Q] y) {
  scales = Constant<value = float[4] {1.0, 1.0, 2.0, 2.0}>()
  y = Resize<mode="linear">(x, , scales)
}"""
TO_SIZES = """g (float[N,3,H,W] x) => (float[N,3,P,Q] y) {
  size = Shape(x)
  factors = Constant<value = int64[4] {1, 1, 2, 3}>()
  larger = Mul(size, factors)
  y = Resize<mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor">(x, , , larger)
}"""
BY_DATA = """g (float[N,3,H,W] x, float[4] scales) => (float[N,3,P,Q] y) {
  y = Resize<mode="linear">(x, , scales)
}"""


def _model(text: str) -> onnx.ModelProto:
    return model_of(text, data=("x", "scales"), opset=18)


def _images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("text", [BY_SCALES, TO_SIZES], ids=["scales", "sizes"])
def test_resize_is_traced_whole_when_its_target_does_not_depend_on_data(text):
    module = to_torch(_model(text))
    torch._dynamo.reset()
    compiled = torch.compile(module, backend="eager", fullgraph=True, dynamic=True)
    for shape in ((2, 3, 8, 6), (3, 3, 12, 10)):
        images = torch.from_numpy(_images(*shape))
        assert torch.equal(compiled(images), module(images))


@pytest.mark.parametrize("text", [BY_SCALES, TO_SIZES], ids=["scales", "sizes"])
def test_resize_gives_what_onnxruntime_gives_at_two_sizes(text):
    model = _model(text)
    module = to_torch(model)
    for shape in ((2, 3, 8, 6), (3, 3, 12, 10)):
        images = _images(*shape)
        assert gap(module(torch.from_numpy(images)).numpy(), answers(model, {"x": images})["y"]) < 1e-6


def test_resize_reads_scales_from_the_tensor_when_they_are_an_input():
    model, images = _model(BY_DATA), _images(2, 3, 8, 6)
    module = to_torch(model)
    for factors in ([1, 1, 2, 2], [1, 1, 0.5, 3]):
        scales = np.array(factors, np.float32)
        found = module(torch.from_numpy(images), torch.from_numpy(scales)).numpy()
        assert gap(found, answers(model, {"x": images, "scales": scales})["y"]) < 1e-6
