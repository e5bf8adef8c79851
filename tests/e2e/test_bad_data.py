"""Training data that a user can get wrong: one paragraph, exit code 1, nothing written, no training begun."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from graphs import model_of
from PIL import Image

from onnxprune.cli.main import cli

NET = """net (float[N,3,8,8] image, float[16,3,3,3] w1, float[16] b1, float[3,16] w2) => (float[N,3] logits) {
  a = Conv<pads=[1,1,1,1]>(image, w1, b1)
  r = Relu(a)
  p = GlobalAveragePool(r)
  f = Flatten(p)
  logits = Gemm<transB=1>(f, w2)
}"""
VECTORS = """net (float[N,6] x, float[16,6] w1, float[3,16] w2) => (float[N,3] logits) {
  a = Gemm<transB=1>(x, w1)
  r = Relu(a)
  logits = Gemm<transB=1>(r, w2)
}"""
MAPS = """net (float[N,3,8,8] image, float[16,3,3,3] w1, float[4,16,1,1] w2) => (float[N,4,8,8] map) {
  a = Conv<pads=[1,1,1,1]>(image, w1)
  r = Relu(a)
  map = Conv(r, w2)
}"""
FLOATS = np.zeros((6, 3, 8, 8), np.float32)
INDICES = np.arange(6) % 3

Make = Callable[[Path], str]


def _npz(**arrays: np.ndarray) -> Make:
    def make(folder: Path) -> str:
        np.savez(folder / "data.npz", **arrays)
        return str(folder / "data.npz")

    return make


def _pictures(**classes: int) -> Make:
    def make(folder: Path) -> str:
        (folder / "images").mkdir()
        for name, count in classes.items():
            (folder / "images" / name).mkdir()
            for index in range(count):
                Image.new("RGB", (8, 8)).save(folder / "images" / name / f"{index}.png")
        return str(folder / "images")

    return make


def _one_damaged(folder: Path) -> str:
    source = _pictures(a=3, b=3)(folder)
    (folder / "images" / "b" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing more")
    return source


def _code(body: str) -> Make:
    def make(folder: Path) -> str:
        module = f"code_{abs(hash(body))}"
        (folder / f"{module}.py").write_text(
            f"import numpy as np\nX = np.zeros((6, 3, 8, 8), np.float32)\n\ndef batches():\n"
            f"{textwrap.indent(textwrap.dedent(body).strip(), '    ')}\n"
        )
        return f"{module}:batches"

    return make


def _saved(**columns: list[object]) -> Make:
    def make(folder: Path) -> str:
        datasets = pytest.importorskip("datasets")
        datasets.disable_progress_bars()
        datasets.Dataset.from_dict(columns).save_to_disk(folder / "saved")
        return str(folder / "saved")

    return make


CASES: dict[str, tuple[str, Make, tuple[str, ...]]] = {
    "wrong names": (NET, _npz(pixels=FLOATS, other=FLOATS), ("'image'", "'pixels'", "'other'")),
    "wrong shape": (NET, _npz(image=FLOATS[:, :, :5]), ("[3, 5, 8]", "[N, 3, 8, 8]")),
    "wrong type": (NET, _npz(image=FLOATS.astype(str)), ("element type", "float32")),
    "nan": (NET, _npz(image=FLOATS * np.nan), ("NaN", "sample 0")),
    "infinity": (NET, _npz(image=FLOATS + np.inf), ("infinity", "sample 0")),
    "labels as text": (NET, _npz(image=FLOATS, labels=np.array(["cat"] * 6)), ("'cat'", "class index", "unique")),
    "labels out of range": (NET, _npz(image=FLOATS, labels=INDICES + 1), ("1..3", "0..2")),
    "counts": (NET, _npz(image=FLOATS, labels=INDICES[:4]), (": 6", ": 4")),
    "dense labels": (MAPS, _npz(image=FLOATS, labels=np.full((6, 8, 8), 4)), ("4..4", "'map'", "0..3")),
    "empty folder": (NET, _pictures(), ("holds no images",)),
    "folder of empty classes": (NET, _pictures(a=0, b=0), ("holds no images",)),
    "damaged image": (NET, _one_damaged, ("1 of 6 images", "'b/1.png'", "--skip-corrupt")),
    "images for vectors": (VECTORS, _pictures(a=2), ("'x'", "reads none")),
    "too many classes": (NET, _pictures(a=1, b=1, c=1, d=1), ("4 classes", "3")),
    "splits": (NET, _pictures(train=1, test=1), ("'test', 'train'", "not as classes")),
    "code that raises": (NET, _code("yield (X,)\nraise OSError('disk on fire')"), ("batch 2", "OSError: disk on fire")),
    "code with text labels": (NET, _code("yield X, ['cat'] * 6"), ("batch 1", "'cat'", "class index")),
    "code with wrong names": (NET, _code("yield {'a': X, 'b': X}"), ("batch 1", "'image'", "'a', 'b'")),
    "code with nan": (NET, _code("yield (X,)\nyield (X * np.nan,)"), ("batch 2", "NaN")),
    "code with two counts": (NET, _code("yield X, [0, 1]"), ("batch 1", ": 6", ": 2")),
    "code that gives nothing": (NET, _code("return []"), ("no samples",)),
    "saved dataset with other names": (NET, _saved(a=[1.0], b=[2.0]), ("'image'", "'a'", "'b'")),
    "saved dataset with text labels": (VECTORS, _saved(x=[[1.0] * 6], label=["cat"]), ("'cat'", "class index")),
}


@pytest.mark.parametrize(("net", "make", "words"), CASES.values(), ids=CASES.keys())
def test_bad_data_is_one_paragraph_before_training(net, make, words, tmp_path, monkeypatch):
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "in")
    onnx.save(model_of(net, data=("image", "x")), "net.onnx")
    source = make(tmp_path / "in")
    out = tmp_path / "out" / "slim.onnx"
    result = CliRunner().invoke(cli, ["compress", "net.onnx", "--flops", "0.5", "-o", str(out), "--data", source])
    message = " ".join(result.stderr.split())
    assert result.exit_code == 1, result.output
    assert message.count("error:") == 1
    assert "Traceback" not in result.output
    assert result.stdout == ""
    for word in words:
        assert word in message, f"{word!r} is not in: {message}"
    assert list(out.parent.iterdir()) == []
