"""What is written is run before it gets its place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from graphs import model_of

from onnxprune.core.errors import CertificateError
from onnxprune.core.stage import Bench
from onnxprune.graph import Model, load_model
from onnxprune.graph.values import StoredValues, read_values
from onnxprune.passes.export_model import ExportModel
from onnxprune.runtime import FeedPair

GRAPH = """g (float[N, 16] x, float[16, 32] w, float[32] b) => (float[N, 32] y) {
    h = MatMul(x, w)
    y = Add(h, b)
}"""
CUSTOM = """g (float[N, 16] x, float[16, 32] w) => (float[N, 32] y) {
    h = MatMul(x, w)
    y = Neg(h)
}"""


def bench_of(model: onnx.ModelProto, *, external: bool = False) -> Bench:
    slim: Model = load_model(model)
    slim.external_data = external
    x = np.random.default_rng(0).normal(size=(2, 16)).astype(np.float32)
    return Bench(artifacts={"slim": slim, "feeds": FeedPair({"x": x}, None)})


@pytest.mark.parametrize("external", [False, True])
def test_files_are_given_and_hold_the_model(tmp_path: Path, external: bool) -> None:
    given = ExportModel(tmp_path / "slim.onnx").run(bench_of(model_of(GRAPH), external=external))
    assert sorted(path.name for path in given["files"]) == ["slim.onnx"] + ["slim.onnx.data"] * external
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in given["files"])
    assert len(onnx.load(tmp_path / "slim.onnx").graph.initializer) == 2


def test_nothing_is_written_without_a_path(tmp_path: Path) -> None:
    assert ExportModel(None).run(bench_of(model_of(GRAPH))) == {"files": ()}


def test_a_model_that_onnxruntime_cannot_run_whole_is_read_back_in_parts(tmp_path: Path) -> None:
    model = model_of(CUSTOM)
    model.graph.node[1].domain = "com.example"
    model.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    bench = bench_of(model)
    ExportModel(tmp_path / "slim.onnx").run(bench)
    assert (tmp_path / "slim.onnx").is_file()


@pytest.mark.parametrize("old", [False, True])
def test_a_file_that_computes_something_else_is_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: bool
) -> None:
    out = tmp_path / "slim.onnx"
    if old:
        out.write_bytes(b"old")

    def shifted(values: StoredValues) -> Iterator[bytes]:
        yield (read_values(values) * np.float32(1.001)).tobytes()

    monkeypatch.setattr("onnxprune.graph.data_file.raw_pieces", shifted)
    with pytest.raises(CertificateError, match=r"slim\.onnx.*initializer 'w'"):
        ExportModel(out).run(bench_of(model_of(GRAPH), external=True))
    assert [path.name for path in tmp_path.iterdir()] == ["slim.onnx"] * old
    assert not old or out.read_bytes() == b"old"
