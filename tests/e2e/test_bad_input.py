"""What a user can get wrong: one paragraph, the documented exit code, nothing half-written."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from graphs import model_of
from onnx import numpy_helper
from onnx.external_data_helper import set_external_data

from onnxprune.cli.main import cli
from onnxprune.report.schema import read_report

NET = """net (float[N,3,8,8] image, float[16,3,3,3] w1, float[16] b1, float[24,16,3,3] w2, float[24] b2, float[5,24] w3)
=> (float[N,5] logits) {
  a = Conv<pads=[1,1,1,1]>(image, w1, b1)
  r = Relu(a)
  c = Conv<pads=[1,1,1,1]>(r, w2, b2)
  s = Relu(c)
  p = GlobalAveragePool(s)
  f = Flatten(p)
  logits = Gemm<transB=1>(f, w3)
}"""

REPORTS = ("slim.report.html", "slim.report.json", "slim.report.md")

pytestmark = pytest.mark.usefixtures("quick_latency")


@pytest.fixture
def net(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "net.onnx"
    path.parent.mkdir()
    onnx.save(model_of(NET, data=("image",)), path)
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "slim.onnx"


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["compress", *map(str, arguments)])


def check_refusal(result: Result, out: Path, code: int, *words: str, reported: bool = False) -> None:
    """One paragraph with the given words on stderr, nothing on stdout, nothing written.

    A run that failed once the model was analysed is `reported`: its report is all that is written.
    """
    assert result.exit_code == code, f"exit {result.exit_code}: {result.output}"
    message = " ".join(result.stderr.split())
    assert "Traceback" not in result.output
    for word in words:
        assert word in message, f"{word!r} is not in: {message}"
    assert result.stdout == ""
    if code not in (2, 130):
        assert message.count("error:") == 1
    if reported:
        assert {p.name for p in out.parent.iterdir()} == set(REPORTS)
        report = read_report(out.with_name("slim.report.json"))
        assert (report.status, report.output) == ("failed", None)
        assert report.failure is not None
        assert report.failure.exit_code == code
        assert all(word in report.failure.message for word in words)
    elif out.parent.is_dir():
        assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"this is not a model", "ONNX"), (b"", "empty"), (b"\x08\x07\x12\x00", "ONNX")],
    ids=["text", "empty", "no graph"],
)
def test_not_an_onnx_file(content, word, tmp_path, out):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    check_refusal(invoke(path, "--flops", 0.4, "-o", out), out, 1, "model.onnx", word)


def test_missing_file_and_folder_in_place_of_a_file(tmp_path, out):
    check_refusal(invoke(tmp_path / "nowhere.onnx", "--flops", 0.4, "-o", out), out, 1, "nowhere.onnx")
    check_refusal(invoke(tmp_path, "--flops", 0.4, "-o", out), out, 1, tmp_path.name)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncated_file(net, out, share):
    content = net.read_bytes()
    net.write_bytes(content[: int(len(content) * share)])
    check_refusal(invoke(net, "--flops", 0.4, "-o", out), out, 1, "net.onnx")


def externalize(path: Path, location: str) -> None:
    """Moves the first weight of a model to a data file that the model says lies at `location`."""
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    (path.parent / "w.bin").write_bytes(tensor.raw_data)
    set_external_data(tensor, location)
    tensor.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())


def test_external_data_beside_the_model_is_read(net, out):
    externalize(net, "w.bin")
    result = invoke(net, "--flops", 0.6, "-o", out)
    assert result.exit_code == 0, result.output
    assert {p.name for p in out.parent.iterdir()} == {"slim.onnx", "slim.onnx.data", *REPORTS}


def test_missing_external_data(net, out):
    externalize(net, "gone.bin")
    check_refusal(invoke(net, "--flops", 0.4, "-o", out), out, 1, "gone.bin", "w1")


@pytest.mark.parametrize("trick", ["absolute", "parent", "link", "linked folder"])
def test_external_data_outside_the_models_folder(net, out, tmp_path, trick):
    secret = tmp_path / "secret" / "w.bin"
    secret.parent.mkdir()
    secret.write_bytes(b"\0" * 16 * 3 * 9 * 4)
    (net.parent / "link.bin").symlink_to(secret)
    (net.parent / "folder").symlink_to(secret.parent)
    location = {
        "absolute": str(secret),
        "parent": "../secret/w.bin",
        "link": "link.bin",
        "linked folder": "folder/w.bin",
    }[trick]
    externalize(net, location)
    check_refusal(invoke(net, "--flops", 0.4, "-o", out), out, 1, "w1", "folder")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(net, out, value):
    model = onnx.load(net)
    weight = numpy_helper.to_array(model.graph.initializer[1]).copy()
    weight[3] = value
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(weight, model.graph.initializer[1].name))
    onnx.save(model, net)
    check_refusal(invoke(net, "--flops", 0.4, "-o", out), out, 1, model.graph.initializer[1].name)


@pytest.mark.parametrize(
    ("budget", "code", "words"),
    [
        ("0", 2, ("greater than zero",)),
        ("-0.5", 2, ()),
        ("1.7", 2, ("more than the original",)),
        ("0.001", 5, ("flops", "reach")),
        ("lots", 2, ("not a budget",)),
        ("nan", 2, ()),
    ],
)
def test_budget_out_of_reach_or_meaningless(net, out, budget, code, words):
    check_refusal(invoke(net, "--flops", budget, "-o", out), out, code, *words, reported=code == 5)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("tiles", ("even with one block of inputs left to each tile", "Reachable: flops", "--block")),
        ("both", ("one channel left in each", "and one block of inputs left to each tile", "Reachable: flops")),
    ],
)
def test_budget_out_of_reach_of_tiles(net, out, pattern, words):
    # a form that is asked for: where none is, layers that tiles do not make faster here are no tiles' to give
    asked = ("--pattern", pattern, "--block-sparse", "body")
    check_refusal(invoke(net, *asked, "--flops", 0.001, "-o", out), out, 5, *words, reported=True)


def save(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


IMAGES = np.zeros((8, 8, 8, 3), dtype=np.uint8)
FLOATS = np.zeros((8, 3, 8, 8), dtype=np.float32)
LABELS = np.arange(8) % 5


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"pixels": FLOATS, "other": FLOATS}, ("image", "pixels")),
        ({"image": FLOATS[:, :2]}, ("image", "shape")),
        ({"image": np.zeros((8, 9, 9, 3), dtype=np.uint8)}, ("shape",)),
        ({"image": FLOATS, "labels": LABELS + 1}, ("labels", "0..4")),
        ({"image": FLOATS, "labels": LABELS - 1}, ("labels", "0..4")),
        ({"image": FLOATS, "labels": LABELS[:5]}, ("labels", "5")),
        ({"image": FLOATS, "labels": LABELS.astype(str)}, ("labels",)),
        ({"image": FLOATS * np.nan}, ("image", "NaN")),
        ({"image": FLOATS[:0]}, ("empty",)),
        ({"image": FLOATS, "labels": np.array([{}] * 8)}, ("data.npz",)),
    ],
)
def test_data_that_does_not_fit(net, out, tmp_path, arrays, words):
    data = save(tmp_path / "data.npz", **arrays)
    check_refusal(invoke(net, "--flops", 0.5, "-o", out, "--data", data), out, 1, *words)


def test_data_file_that_is_missing_or_damaged(net, out, tmp_path):
    check_refusal(invoke(net, "--flops", 0.5, "-o", out, "--data", tmp_path / "no.npz"), out, 1, "no.npz")
    (tmp_path / "bad.npz").write_bytes(b"PK\3\4 nonsense")
    check_refusal(invoke(net, "--flops", 0.5, "-o", out, "--data", tmp_path / "bad.npz"), out, 1, "bad.npz")


def test_place_that_cannot_be_written(net, out, tmp_path):
    nowhere = tmp_path / "none" / "slim.onnx"
    check_refusal(invoke(net, "--flops", 0.5, "-o", nowhere), out, 1, "none", "does not exist")
    out.mkdir()
    result = invoke(net, "--flops", 0.5, "-o", out)
    assert result.exit_code == 1
    assert "folder" in result.stderr
    assert list(out.iterdir()) == []


def test_input_file_as_output_is_refused(net, out):
    before = net.read_bytes()
    result = invoke(net, "--flops", 0.5, "-o", net)
    assert result.exit_code in (1, 2)
    assert net.read_bytes() == before


def test_disk_full_while_writing_leaves_the_old_file(net, out, monkeypatch):
    assert invoke(net, "--flops", 0.6, "-o", out).exit_code == 0
    before = {p.name: p.read_bytes() for p in out.parent.iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    result = invoke(net, "--flops", 0.5, "-o", out)
    assert result.exit_code == 1, result.output
    assert "No space left on device" in " ".join(result.stderr.split())
    assert {p.name: p.read_bytes() for p in out.parent.iterdir()} == before


def test_interrupt_during_training_writes_nothing(net, out, tmp_path, monkeypatch):
    import onnxprune.train.loop as loop

    data = save(tmp_path / "data.npz", image=np.random.default_rng(0).normal(size=(64, 3, 8, 8)).astype(np.float32))

    def interrupted(*arguments: object) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "make_schedule", interrupted)
    result = invoke(net, "--flops", 0.5, "-o", out, "--data", data, "--epochs", 1)
    check_refusal(result, out, 130, "interrupted")


def test_model_without_prunable_channels_is_an_error_with_reasons(tmp_path, out):
    path = tmp_path / "tiny.onnx"
    onnx.save(model_of("g (float[N,3,4,4] x, float[5,3,1,1] w) => (float[N,5,4,4] y) { y = Conv(x, w) }"), path)
    result = invoke(path, "--flops", 0.5, "-o", out)
    words = ("No channel", "input 'x' of the model", "output 'y' of the model")
    check_refusal(result, out, 1, *words, reported=True)


def test_unknown_option_and_missing_budget_are_usage_errors(net, out):
    check_refusal(invoke(net, "-o", out), out, 2, "budget")
    check_refusal(invoke(net, "--flops", 0.5, "--criterion", "magnitud", "-o", out), out, 2, "magnitude")
    check_refusal(invoke(net, "--flop", 0.5), out, 2)
