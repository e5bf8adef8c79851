"""The choice of forms: each can win alone, the whole model has the last word, and what was asked for is not timed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from graphs import model_of
from onnx import numpy_helper

from onnxprune.core.certificate import Certificate
from onnxprune.core.plan import Plan
from onnxprune.core.run import run_passes
from onnxprune.core.stage import Bench
from onnxprune.core.tiling import TiledLayer, Tiling
from onnxprune.graph import Model, load_model
from onnxprune.kernels import Availability
from onnxprune.passes import use_block_sparse
from onnxprune.passes.use_block_sparse import LayerForm, UseBlockSparse
from onnxprune.runtime import FeedPair, LatencyComparison, Ratio, make_session, run

NET = """g (float[2, 6, 16] x, float[16, 32] a, float[32] ab, float[32, 16] b, float[16, 24] c) => (float[2, 6, 24] y) {
    h = MatMul(x, a)
    h1 = Add(h, ab)
    h2 = Relu(h1)
    h3 = MatMul(h2, b)
    y = MatMul(h3, c)
}"""
LAYERS = (
    TiledLayer("matmul_0", "a", "MatMul", 0, 16, 32, 2, 8, ((0, 3), (1, 2), (0, 7), (5, 6))),
    TiledLayer("matmul_3", "b", "MatMul", 0, 32, 16, 4, 8, ((0, 3), (1, 2))),
    TiledLayer("matmul_4", "c", "MatMul", 0, 16, 24, 2, 8, ((0, 3), (1, 2), (4, 5))),
)
OPERATORS = {"kernel": "onnxprune", "body": "onnxprune.portable", "densify": "onnxprune.portable"}


class FakeTimer:
    """Tells what it is given to tell, and remembers what it was asked.

    Args:
        alone: Ratio of each form of a layer.
        whole: Ratio of the model with what is fastest alone, and with all weights expanded.
    """

    def __init__(self, alone: Mapping[str, float], whole: Mapping[str, float] | None = None) -> None:
        self.told = {**alone, "densify": alone.get("densify", 1.2)}
        self.whole = {"chosen": 0.5, "densify": 1.2, **(whole or {})}
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, models: Mapping[str, Any], feeds: Any, options: Any, /) -> LatencyComparison:
        first, *others = models
        assert first == "dense"
        for model in models.values():
            make_session(model, threads=1)  # whatever is timed must load
        self.asked.append(tuple(models))
        told = self.whole if isinstance(models[first], Model) else self.told
        ratios = {name: Ratio(told[name], told[name] - 0.01, told[name] + 0.01, 0.02) for name in others}
        return LatencyComparison({}, ratios, "CPUExecutionProvider", 1, 1)


def bench_of(model: onnx.ModelProto, layers: tuple[TiledLayer, ...] = LAYERS) -> Bench:
    """A run that has emptied its tiles."""
    masks = {layer.weight: layer.weight_mask() for layer in layers}
    for tensor in model.graph.initializer:
        if tensor.name in masks:
            stored = numpy_helper.to_array(tensor)
            value = np.where(masks[tensor.name], stored, np.zeros((), stored.dtype))
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    slim = load_model(model)
    feeds = {"x": np.random.default_rng(0).standard_normal((2, 6, 16)).astype(np.float32)}
    return Bench(
        {
            "original": slim,
            "slim": slim,
            "plan": Plan("", {}, {}, tiling=Tiling(layers)),
            "feeds": FeedPair(feeds, None),
            "certificate": Certificate((), 1e-4),
        }
    )


def chosen(bench: Bench, **options: Any) -> list[LayerForm]:
    before, feeds = bench.take("slim", Model), bench.take("feeds", FeedPair).first
    expected = run(make_session(before, threads=1), feeds)["y"]
    run_passes([UseBlockSparse(**options)], bench)
    forms = list(bench.take("layer_forms", tuple))
    assert [form.layer for form in forms] == list(bench.take("plan", Plan).tiling.layers)
    after = bench.take("slim", Model)
    for kernels in (True, False):
        found = run(make_session(after, threads=1, kernels=kernels), feeds)["y"]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    domains = sorted(str(node.domain) for node in after.nodes if node.domain)
    assert domains == sorted(OPERATORS[form.form] for form in forms if form.form in OPERATORS)
    return forms


@pytest.fixture
def kernels_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(use_block_sparse, "available_for", lambda *_: Availability(None, "avx2", ""))


@pytest.mark.usefixtures("kernels_run")
@pytest.mark.parametrize(
    ("alone", "form"),
    [
        ({"kernel": 0.4, "body": 0.6}, "kernel"),
        ({"kernel": 0.7, "body": 0.5}, "body"),
        ({"kernel": 1.3, "body": 1.2, "densify": 1.0}, "densify"),
        ({"kernel": 1.3, "body": 1.2, "densify": 1.1}, "dense"),
    ],
)
def test_the_form_that_is_fastest_alone_is_taken(alone: dict[str, float], form: str) -> None:
    bench = bench_of(model_of(NET))
    forms = chosen(bench, timer=FakeTimer(alone, {"densify": 1.0} if form == "densify" else None))
    assert {each.form for each in forms} == {form}
    assert all(each.ratios["kernel"].value == alone["kernel"] for each in forms)
    packed = form in ("kernel", "body")
    assert {each.reason for each in forms} == {"" if packed else "no block-sparse operator is faster alone"}
    assert len(bench.take("certificate", Certificate).rows) == (form != "dense")
    assert any(("stay dense" in note) == (form == "dense") for note in bench.notes)


@pytest.mark.usefixtures("kernels_run")
@pytest.mark.parametrize(
    ("whole", "form"),
    [
        ({"chosen": 1.1, "densify": 1.0}, "densify"),
        ({"chosen": 1.1, "densify": 1.1}, "dense"),
        ({"chosen": 1.015, "densify": 1.1}, "kernel"),  # as fast as dense, and smaller
        ({"chosen": 0.9, "densify": 0.5}, "densify"),
    ],
)
def test_the_whole_model_has_the_last_word(whole: dict[str, float], form: str) -> None:
    bench = bench_of(model_of(NET))
    forms = chosen(bench, timer=FakeTimer({"kernel": 0.4, "body": 0.6}, whole))
    assert {each.form for each in forms} == {form}
    if form != "kernel":
        assert {each.reason for each in forms} == {
            f"the whole model takes {whole['chosen']:.2f} times the dense one's time with what is fastest alone"
        }


def test_without_kernels_their_form_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(use_block_sparse, "available_for", lambda *_: Availability(None, "", "not built"))
    timer = FakeTimer({"body": 0.5})
    assert {form.form for form in chosen(bench_of(model_of(NET)), timer=timer)} == {"body"}
    assert {name for asked in timer.asked for name in asked} == {"dense", "body", "densify", "chosen"}


@pytest.mark.usefixtures("kernels_run")
def test_layers_that_are_alike_are_timed_once() -> None:
    text = NET.replace("float[16, 24] c) => (float[2, 6, 24] y)", "float[16, 32] c) => (float[2, 6, 32] y)")
    text = text.replace("y = MatMul(h3, c)", "h4 = MatMul(h3, c) h5 = Add(h4, ab) y = Relu(h5)")
    last = TiledLayer("matmul_4", "c", "MatMul", 0, 16, 32, 2, 8, ((0, 1), (1, 2), (4, 5), (6, 7)))
    timer = FakeTimer({"kernel": 0.4, "body": 0.6})
    forms = chosen(bench_of(model_of(text), (*LAYERS[:2], last)), timer=timer)
    assert {form.form for form in forms} == {"kernel"}
    assert len(timer.asked) == 3  # two kinds of layers, and the whole model
    fewer = TiledLayer("matmul_4", "c", "MatMul", 0, 16, 32, 2, 8, ((0,), (1,), (4,), (6,)))
    timer = FakeTimer({"kernel": 0.4, "body": 0.6})
    chosen(bench_of(model_of(text), (*LAYERS[:2], fewer)), timer=timer)
    assert len(timer.asked) == 4


@pytest.mark.parametrize(
    ("when", "form"),
    [("kernel", "kernel"), ("always", "kernel"), ("body", "body"), ("densify", "densify"), ("never", "dense")],
)
def test_a_form_that_is_asked_for_is_not_timed_and_gives_the_same_bytes(when: Any, form: str) -> None:
    def refuse(*_: Any) -> LatencyComparison:
        raise AssertionError("timed")

    contents = set()
    for _ in range(2):
        bench = bench_of(model_of(NET))
        forms = chosen(bench, when=when, timer=refuse)
        assert {each.form for each in forms} == {form}
        contents.add(bench.take("slim", Model).to_proto().SerializeToString(deterministic=True))
    assert len(contents) == 1


@pytest.mark.usefixtures("kernels_run")
def test_a_layer_with_a_computed_bias_may_still_be_stored_packed() -> None:
    text = """g (float[12, 16] x, float[16, 32] a, float[32] ab) => (float[12, 32] y) {
        bias = Neg(ab)
        h = Gemm(x, a, bias)
        y = Relu(h)
    }"""
    layer = TiledLayer("gemm_1", "a", "MatMul", 0, 16, 32, 2, 8, LAYERS[0].kept)
    bench = bench_of(model_of(text), (layer,))
    bench.artifacts["feeds"] = FeedPair({"x": np.ones((12, 16), np.float32)}, None)
    timer = FakeTimer({"densify": 1.0}, {"chosen": 1.0})
    (form,) = chosen(bench, timer=timer)
    assert (form.form, form.reason) == ("densify", "its bias is computed, or no vector")
    assert timer.asked == [("dense", "densify"), ("dense", "chosen")]


def test_an_old_model_stays_dense_and_is_not_timed() -> None:
    bench = bench_of(model_of(NET, opset=12))
    forms = chosen(bench, timer=FakeTimer({}))
    assert {form.form for form in forms} == {"dense"}
    assert all("has opset 12" in form.reason for form in forms)


def test_bfloat16_is_packed_where_it_is_asked_for_and_never_timed_on_the_cpu() -> None:
    model = model_of(NET)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor).astype(ml_dtypes.bfloat16)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.BFLOAT16
    for when, form in (("auto", "dense"), ("kernel", "kernel"), ("body", "body"), ("densify", "densify")):
        bench = bench_of(model)
        timer = FakeTimer({"kernel": 0.4, "body": 0.6})
        run_passes([UseBlockSparse(when=when, timer=timer)], bench)
        forms = bench.take("layer_forms", tuple)
        assert [each.form for each in forms] == [form] * 3
        assert timer.asked == []
        assert all(("no kernels for bfloat16" in each.reason) == (form == "dense") for each in forms)
        assert len(bench.take("certificate", Certificate).rows) == (form != "dense")
        stored = {constant.dtype for constant in bench.take("slim", Model).initializers().values()}
        assert stored - {np.dtype(np.int64)} == {np.dtype(ml_dtypes.bfloat16)}
