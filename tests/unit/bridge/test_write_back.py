"""Trained values return to the graph, and onnxruntime computes what the module does."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from bridging import answers, convnet, gap, images
from graphs import model_of
from onnx import numpy_helper

from onnxprune.bridge import to_torch, write_back
from onnxprune.core.errors import ModelError
from onnxprune.graph import load_model


def _disturb(module):
    with torch.no_grad():
        for i, parameter in enumerate(module.parameters()):
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(i)) * 0.1)


def test_round_trip_equals_the_module():
    model = load_model(convnet())
    module = to_torch(model)
    _disturb(module)
    write_back(module, model)
    x = images(3)
    with torch.no_grad():
        found = module(torch.from_numpy(x)).numpy()
    assert gap(found, answers(model, {"x": x})["y"]) < 1e-5
    assert gap(found, answers(convnet(), {"x": x})["y"]) > 1e-2


def test_running_statistics_are_written():
    model = load_model(
        model_of(
            """g (float[N,4,2,2] x, float[4] s, float[4] b, float[4] m, float[4] v) => (float[N,4,2,2] y) {
              y = BatchNormalization(x, s, b, m, v)
            }"""
        )
    )
    module = to_torch(model).train()
    module(torch.randn(8, 4, 2, 2, generator=torch.Generator().manual_seed(0)))
    write_back(module, model)
    assert np.array_equal(model.read("m"), dict(module.named_buffers())["m"].numpy())


def test_element_types_are_kept():
    proto = model_of("g (float16[N,4] x, float[4,4] w) => (float16[N,4] y) { y = MatMul(x, w) }")
    half = numpy_helper.to_array(proto.graph.initializer[0]).astype(np.float16)
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(half, "w"))
    model = load_model(proto)
    module = to_torch(model).float()
    _disturb(module)
    write_back(module, model)
    assert model.read("w").dtype == np.float16
    assert gap(model.read("w").astype(np.float32), dict(module.named_parameters())["w"].detach().numpy()) < 1e-3


def test_foreign_or_broken_parameters_are_refused():
    module = to_torch(convnet())
    other = load_model(model_of("g (float[N,4] x, float[4,4] w1) => (float[N,4] y) { y = MatMul(x, w1) }"))
    with pytest.raises(ModelError, match="'w1' has shape"):
        write_back(module, other)
    with torch.no_grad():
        dict(module.named_parameters())["b1"][0] = float("nan")
    with pytest.raises(ModelError, match=r"'b1' holds NaN.*--lr"):
        write_back(module, load_model(convnet()))


def test_scalars_and_names_stay():
    model = load_model(convnet())
    module = to_torch(model)
    write_back(module, model)
    before, after = convnet(), model.to_proto()
    assert [n.name for n in after.graph.node] == [n.name for n in before.graph.node]
    assert {i.name for i in after.graph.initializer} == {i.name for i in before.graph.initializer}
    onnx.checker.check_model(after)
