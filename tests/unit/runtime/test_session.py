"""Sessions, providers and files younger than onnxruntime."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from onnxprune.core.errors import DataError, ModelError, UsageError
from onnxprune.runtime import session as session_module
from onnxprune.runtime.cores import usable_cores
from onnxprune.runtime.formats import newest_ir
from onnxprune.runtime.large import fit_protobuf, inline_bytes
from onnxprune.runtime.providers import CPU, available_providers, is_usable, resolve_provider, short_name
from onnxprune.runtime.session import make_session, run


def parse(body: str, *, opset: int = 18, ir: int = 8) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: {ir}, opset_import: ["" : {opset}]> g {body}')


def with_weight(array: np.ndarray) -> onnx.ModelProto:
    model = parse(f"(float[n, {array.shape[0]}] x) => (float[n, {array.shape[1]}] y) {{ y = MatMul(x, w) }}")
    model.graph.initializer.append(numpy_helper.from_array(array, "w"))
    return model


def test_run_gives_outputs_by_name() -> None:
    model = parse("(float[n, 2] x) => (float[n, 2] total, float[n, 2] rest) { total = Add(x, x) rest = Neg(x) }")
    x = np.array([[1.0, -2.0]], np.float32)
    outputs = run(make_session(model), {"x": x})
    assert list(outputs) == ["total", "rest"]
    np.testing.assert_array_equal(outputs["total"], 2 * x)
    np.testing.assert_array_equal(outputs["rest"], -x)


@pytest.mark.parametrize("given", ["proto", "bytes", "path"])
def test_make_session_takes_each_form_of_a_model(given: str, tmp_path: Path) -> None:
    model = with_weight(np.eye(3, dtype=np.float32) * 2)
    onnx.save(model, tmp_path / "m.onnx")
    source = {"proto": model, "bytes": model.SerializeToString(), "path": tmp_path / "m.onnx"}[given]
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(run(make_session(source), {"x": x})["y"], 2 * x)


@pytest.mark.parametrize("given", ["proto", "path"])
def test_make_session_reads_external_data(given: str, tmp_path: Path) -> None:
    weight = np.random.default_rng(0).standard_normal((64, 8)).astype(np.float32)
    path = tmp_path / "m.onnx"
    onnx.save(with_weight(weight), path, save_as_external_data=True, location="m.bin", size_threshold=16)
    if given == "proto":
        session = make_session(onnx.load(path, load_external_data=False), folder=tmp_path)
    else:
        session = make_session(path)
    x = np.ones((1, 64), np.float32)
    np.testing.assert_allclose(run(session, {"x": x})["y"], weight.sum(0, keepdims=True), rtol=1e-5, atol=1e-5)


def test_weights_above_the_limit_move_out_of_the_message(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    model = with_weight(weight)
    before = model.SerializeToString()
    assert inline_bytes(model) == weight.nbytes
    light, folder = fit_protobuf(model, None, tmp_path, limit=1000)
    assert folder == tmp_path
    assert (tmp_path / "weights.bin").stat().st_size == weight.nbytes
    assert light.ByteSize() < 500
    assert model.SerializeToString() == before
    x = np.eye(64, dtype=np.float32)
    np.testing.assert_allclose(run(make_session(light, folder=folder), {"x": x})["y"], weight, rtol=1e-6)


def test_session_outlives_the_folder_of_moved_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    monkeypatch.setattr(session_module, "fit_protobuf", functools.partial(fit_protobuf, limit=1000))
    outputs = run(make_session(with_weight(weight)), {"x": np.eye(64, dtype=np.float32)})
    np.testing.assert_allclose(outputs["y"], weight, rtol=1e-6)


def test_too_much_inline_beside_external_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="inline beside its external data"):
        fit_protobuf(with_weight(np.eye(64, dtype=np.float32)), tmp_path, tmp_path, limit=1000)


def test_weights_below_the_limit_stay(tmp_path: Path) -> None:
    model = with_weight(np.eye(4, dtype=np.float32))
    assert fit_protobuf(model, None, tmp_path) == (model, None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", ["proto", "bytes", "path"])
def test_ir_version_younger_than_onnxruntime_runs(given: str, tmp_path: Path) -> None:
    model = parse("(float[2] x) => (float[2] y) { y = Relu(x) }", ir=newest_ir() + 1)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    source = {"proto": model, "bytes": model.SerializeToString(), "path": tmp_path / "m.onnx"}[given]
    outputs = run(make_session(source), {"x": np.array([-1, 1], np.float32)})
    np.testing.assert_array_equal(outputs["y"], [0, 1])


def test_opset_younger_than_the_last_release_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALLOW_RELEASED_ONNX_OPSET_ONLY", raising=False)
    model = parse("(float[2] x) => (float[2] y) { y = Relu(x) }", opset=27, ir=10)
    outputs = run(make_session(model), {"x": np.array([-1, 1], np.float32)})
    np.testing.assert_array_equal(outputs["y"], [0, 1])


def test_the_users_word_on_opsets_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOW_RELEASED_ONNX_OPSET_ONLY", "1")
    with pytest.raises(ModelError, match="opset"):
        make_session(parse("(float[2] x) => (float[2] y) { y = Relu(x) }", opset=99, ir=10))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (parse("(float[2] x) => (float[2] y) { y = Nonsense(x) }"), "Nonsense"),
        (parse("(float[2] x) => (float[2] y) { y = Relu(z) }"), "'z'"),
        (b"not a model", "protobuf"),
        (Path("/nowhere/m.onnx"), "/nowhere/m.onnx"),
    ],
)
def test_model_that_cannot_load_is_one_paragraph(model: onnx.ModelProto | bytes | Path, said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        make_session(model)
    text = str(caught.value)
    assert "\n" not in text
    assert "ONNXRuntimeError" not in text
    assert "/onnxruntime_src" not in text


def test_loading_a_broken_model_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelError):
        make_session(parse("(float[2] x) => (float[2] y) { y = Nonsense(x) }"))
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.parametrize(
    ("feeds", "said"),
    [
        ({"z": np.zeros((1, 3), np.float32)}, "inputs are 'x'; the data holds 'z'"),
        ({"x": np.zeros((1, 4), np.float32)}, r"shape \[1, 4\]; the model expects \['n', 3\]"),
        ({"x": np.zeros(3, np.float32)}, r"shape \[3\]"),
        ({"x": np.zeros((1, 3), np.float64)}, "is double; the model expects float"),
    ],
)
def test_feeds_that_do_not_fit_are_named(feeds: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(DataError, match=said):
        run(make_session(with_weight(np.eye(3, dtype=np.float32))), feeds)


def test_failure_while_running_names_the_shapes() -> None:
    model = parse("(float[n, 4] x) => (float[2, m] y) { s = Constant<value_ints = [2, 3]>() y = Reshape(x, s) }")
    with pytest.raises(ModelError, match=r"x float32 \[5, 4\]"):
        run(make_session(model), {"x": np.zeros((5, 4), np.float32)})


def test_bfloat16_goes_in_and_out() -> None:
    model = parse("(bfloat16[n, 2] x) => (bfloat16[n, 2] y) { y = Identity(x) }")
    import ml_dtypes

    x = np.array([[1.5, -2.0]], ml_dtypes.bfloat16)
    y = run(make_session(model), {"x": x})["y"]
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y.astype(np.float32), [[1.5, -2.0]])


def test_text_goes_in_and_out() -> None:
    model = parse("(string[n] x) => (string[n] y) { y = Identity(x) }")
    assert run(make_session(model), {"x": np.array(["a", "b"], object)})["y"].tolist() == ["a", "b"]


def test_threads_are_those_asked_for() -> None:
    model = parse("(float[2] x) => (float[2] y) { y = Relu(x) }")
    assert make_session(model, threads=3).get_session_options().intra_op_num_threads == 3
    assert make_session(model).get_session_options().intra_op_num_threads == usable_cores()


def test_resolve_provider_by_short_and_full_name() -> None:
    assert resolve_provider("cpu") == resolve_provider("CPU") == resolve_provider(CPU) == CPU
    assert short_name(CPU) == "cpu"


def test_auto_is_a_provider_that_works() -> None:
    assert is_usable(resolve_provider("auto"))


def test_unknown_provider_lists_the_working_ones() -> None:
    with pytest.raises(UsageError, match=r"'abacus' is not in this onnxruntime.*working here: .*cpu"):
        resolve_provider("abacus")


def test_provider_that_does_not_start_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    idle = [p for p in available_providers() if not is_usable(p)]
    if not idle:
        pytest.skip("every provider of this onnxruntime works here")
    with pytest.raises(UsageError, match="does not start here"):
        make_session(parse("(float[2] x) => (float[2] y) { y = Relu(x) }"), provider=short_name(idle[0]))
    assert capfd.readouterr().err == ""
