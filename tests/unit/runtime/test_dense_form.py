"""The float16 form of a model: where it is made, that it computes the same, and why there may be none."""

from __future__ import annotations

import sys

import numpy as np
import onnx
import pytest
from graphs import model_of
from onnx import numpy_helper

from onnxprune.runtime import dense_form, float16_form
from onnxprune.runtime.providers import CUDA
from onnxprune.runtime.session import make_session, run

NET = """g (float[N, 3, 8, 8] x, float[16, 3, 3, 3] w, float[16] b, float[16, 5] v) => (float[N, 5] y) {
    c = Conv<pads = [1, 1, 1, 1]>(x, w, b)
    r = Relu(c)
    p = GlobalAveragePool(r)
    f = Flatten(p)
    y = MatMul(f, v)
}"""
WEIGHTLESS = "g (float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }"
FEEDS = {"x": np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)}


def saved(folder, text):
    onnx.save(model_of(text), folder / "net.onnx")
    return folder / "net.onnx"


def test_float16_holds_weights_of_half_the_size_and_the_same_outputs(tmp_path):
    path = saved(tmp_path, NET)
    form = float16_form(path, FEEDS, choice="all", threads=1)
    assert form.reason == ""
    kinds = {tensor.data_type for tensor in form.model.graph.initializer}
    assert kinds == {onnx.TensorProto.FLOAT16}
    assert [value.type.tensor_type.elem_type for value in form.model.graph.output] == [onnx.TensorProto.FLOAT]
    expected, found = (run(make_session(model, threads=1), FEEDS)["y"] for model in (path, form.model))
    np.testing.assert_allclose(found, expected, rtol=2e-2, atol=2e-2)
    assert not np.array_equal(found, expected)


@pytest.mark.parametrize("choice", ["auto", "off"])
def test_nothing_is_made_on_the_cpu_unless_it_is_asked_for(tmp_path, choice):
    assert float16_form(saved(tmp_path, NET), FEEDS, choice=choice) == dense_form.DenseForm()


def test_auto_asks_for_it_on_cuda(tmp_path, monkeypatch):
    monkeypatch.setattr(dense_form, "resolve_provider", lambda _: CUDA)
    form = float16_form(saved(tmp_path, NET), FEEDS, choice="auto", provider="cpu", threads=1)
    assert form.model is not None


def test_a_model_without_weights_has_no_other_form(tmp_path):
    form = float16_form(saved(tmp_path, WEIGHTLESS), {"x": np.ones((1, 4), np.float32)}, choice="all", threads=1)
    assert form == dense_form.DenseForm(None, "The original was not timed in float16: it holds no weights in float32.")


def test_weights_that_float16_cannot_hold_leave_no_form(tmp_path):
    path = saved(tmp_path, "g (float[N, 2] x, float[2, 2] w) => (float[N, 2] y) { y = MatMul(x, w) }")
    model = onnx.load(path)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.diag([1e9, 6e4]).astype(np.float32), "w"))
    onnx.save(model, path)
    form = float16_form(path, {"x": np.array([[1e-4, 1.0]], np.float32)}, choice="all", threads=1)
    assert form.model is None
    assert "its output 'y' is another in float16 (cosine 0.5" in form.reason


def test_a_converter_that_fails_is_said(tmp_path, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise KeyError("node_7")

    monkeypatch.setattr(dense_form, "_converter", lambda: broken)
    form = float16_form(saved(tmp_path, NET), FEEDS, choice="all", threads=1)
    assert "onnxruntime's converter fails: KeyError: 'node_7'" in form.reason


def test_the_converter_leaves_the_path_as_it_was():
    before = list(sys.path)
    dense_form._converter()
    assert sys.path == before
