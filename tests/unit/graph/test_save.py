"""Saving: whole or not at all, the same bytes, never over the source."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from onnxprune.core.errors import InternalError, ModelError, OutputError
from onnxprune.graph import Model, Staging, load_model, save_model
from onnxprune.graph import model as model_module

LARGE = np.random.default_rng(0).normal(size=(64, 32)).astype(np.float32)


def model_of(scale: float = 1.0) -> Model:
    model = onnx.parser.parse_model("""
    <ir_version: 8, opset_import: ["" : 18], metadata_props: ["k" : "v"]>
    net (float[n,64] x) => (float[n,32] y) <float[32] b = {0}> { h = MatMul(x, w) y = Add(h, b) }
    """)
    del model.graph.initializer[:]
    model.graph.initializer.append(numpy_helper.from_array(LARGE * np.float32(scale), "w"))
    model.graph.initializer.append(numpy_helper.from_array(np.arange(32, dtype=np.float32), "b"))
    return load_model(model)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_embedded_weights_come_back(tmp_path: Path) -> None:
    path = tmp_path / "out.onnx"
    assert save_model(model_of(), path) == [path]
    assert list(contents(tmp_path)) == ["out.onnx"]
    onnx.checker.check_model(str(path), full_check=True)
    again = load_model(path)
    assert not again.external_data
    np.testing.assert_array_equal(again.read("w"), LARGE)
    assert again.header.metadata == {"k": "v"}


def test_external_weights_come_back(tmp_path: Path) -> None:
    path = tmp_path / "out.onnx"
    assert save_model(model_of(), path, external=True) == [path, tmp_path / "out.onnx.data"]
    onnx.checker.check_model(str(path), full_check=True)
    assert path.stat().st_size < 1000
    assert (tmp_path / "out.onnx.data").read_bytes() == LARGE.tobytes()
    again = load_model(path)
    assert again.external_data
    np.testing.assert_array_equal(again.read("w"), LARGE)
    np.testing.assert_array_equal(again.read("b"), np.arange(32))
    np.testing.assert_array_equal(numpy_helper.to_array(onnx.load(path).graph.initializer[0]), LARGE)


def test_external_data_stays_external(tmp_path: Path) -> None:
    save_model(model_of(), tmp_path / "in.onnx", external=True)
    model = load_model(tmp_path / "in.onnx")
    model.replace("w", LARGE[:, :16])
    model.replace("b", np.zeros(16, np.float32))
    assert len(save_model(model, tmp_path / "out.onnx")) == 2
    np.testing.assert_array_equal(load_model(tmp_path / "out.onnx").read("w"), LARGE[:, :16])
    assert len(save_model(model, tmp_path / "small.onnx", external=False)) == 1


def test_size_demands_external_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_module, "MAX_EMBEDDED_BYTES", 5000)
    monkeypatch.setattr("onnxprune.graph.save.MAX_EMBEDDED_BYTES", 5000)
    assert len(save_model(model_of(), tmp_path / "out.onnx")) == 2
    with pytest.raises(ModelError, match="at most 2 GB"):
        model_of().to_proto()


def test_small_tensors_need_no_data_file(tmp_path: Path) -> None:
    model = model_of()
    model.replace("w", LARGE[:4, :2])
    assert save_model(model, tmp_path / "out.onnx", external=True) == [tmp_path / "out.onnx"]


def test_offsets_are_aligned(tmp_path: Path) -> None:
    model = model_of()
    model.replace("b", np.zeros(1001, np.float32))
    save_model(model, tmp_path / "out.onnx", external=True)
    proto = onnx.load(tmp_path / "out.onnx", load_external_data=False)
    entries = [{e.key: e.value for e in t.external_data} for t in proto.graph.initializer]
    assert all(int(entry["offset"]) % 64 == 0 for entry in entries)
    assert {entry["location"] for entry in entries} == {"out.onnx.data"}


@pytest.mark.parametrize("external", [False, True])
def test_the_same_model_gives_the_same_bytes(tmp_path: Path, external: bool) -> None:
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        save_model(model_of().copy(), tmp_path / name / "out.onnx", external=external)
        found.append(contents(tmp_path / name))
    assert found[0] == found[1]


def test_the_file_mode_follows_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        save_model(model_of(), tmp_path / "out.onnx")
    finally:
        os.umask(old)
    assert (tmp_path / "out.onnx").stat().st_mode & 0o777 == 0o640


def test_an_older_pair_is_replaced(tmp_path: Path) -> None:
    save_model(model_of(2), tmp_path / "out.onnx", external=True)
    save_model(model_of(3), tmp_path / "out.onnx", external=True)
    assert sorted(contents(tmp_path)) == ["out.onnx", "out.onnx.data"]
    np.testing.assert_array_equal(load_model(tmp_path / "out.onnx").read("w"), LARGE * np.float32(3))


def refused(model: Model, path: Path, *words: str, **options: Any) -> None:
    with pytest.raises(OutputError) as caught:
        save_model(model, path, **options)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_refuses_the_source_and_its_data(tmp_path: Path) -> None:
    save_model(model_of(), tmp_path / "in.onnx", external=True)
    before = contents(tmp_path)
    model = load_model(tmp_path / "in.onnx")
    refused(model, tmp_path / "in.onnx", "another path")
    refused(model, tmp_path / "in.onnx.data", "another path", external=False)
    (tmp_path / "alias.onnx").symlink_to("in.onnx")
    refused(model, tmp_path / "alias.onnx", "another path")
    (tmp_path / "alias.onnx").unlink()
    assert contents(tmp_path) == before


def test_refuses_a_data_file_that_is_the_source(tmp_path: Path) -> None:
    save_model(model_of(), tmp_path / "out.onnx.data", external=False)
    model = load_model(tmp_path / "out.onnx.data")
    refused(model, tmp_path / "out.onnx", "another path", external=True)


def test_refuses_places_that_cannot_be_written(tmp_path: Path) -> None:
    refused(model_of(), tmp_path, "not a file")
    refused(model_of(), tmp_path / "none" / "out.onnx", "does not exist")
    refused(model_of(), Path("/dev/null"), "not a file")
    (tmp_path / "file").write_bytes(b"")
    refused(model_of(), tmp_path / "file" / "out.onnx", "does not exist")
    refused(model_of(), tmp_path / ("x" * 300))
    assert list(contents(tmp_path)) == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_refuses_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    refused(model_of(), tmp_path / "out.onnx", "not writable")


def test_permission_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("onnxprune.graph.staging.os.open", no)
    refused(model_of(), tmp_path / "out.onnx", "not writable", "Permission denied")


class FullDisk:
    """Stands for a file on a disk with `room` bytes left."""

    def __init__(self, file: Any, room: int, error: BaseException) -> None:
        self._file, self._room, self._error = file, room, error

    def write(self, data: bytes) -> int:
        if len(data) > self._room:
            self._file.write(data[: self._room])
            raise self._error
        self._room -= len(data)
        return int(self._file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize("room", [0, 100, 8000, 8300])
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("error", [FULL, KeyboardInterrupt()], ids=["full", "interrupt"])
def test_a_failed_write_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, external: bool, room: int, old: bool, error: BaseException
) -> None:
    if old:
        save_model(model_of(2), tmp_path / "out.onnx", external=True)
    before = contents(tmp_path)
    real = os.fdopen
    left = [room]

    def fdopen(*args: Any) -> FullDisk:
        share = left.pop() if left else 0  # the second file finds the disk full
        return FullDisk(real(*args), share, error)

    monkeypatch.setattr("onnxprune.graph.staging.os.fdopen", fdopen)
    with pytest.raises(OutputError if error is FULL else KeyboardInterrupt) as caught:
        save_model(model_of(), tmp_path / "out.onnx", external=external)
    if error is FULL:
        assert "disk is full" in str(caught.value)
        assert "out.onnx" in str(caught.value)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("fails_at", [0, 1])
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("links", [False, True])
def test_a_failed_commit_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, fails_at: int, old: bool, links: bool
) -> None:
    if old:
        save_model(model_of(2), tmp_path / "out.onnx", external=True)
    before = contents(tmp_path)
    calls = []
    real_sync, real_replace = os.fsync, Path.replace

    def failing(real: Any) -> Any:
        def function(*args: Any) -> Any:
            calls.append(args)
            if len(calls) == fails_at + 1:
                raise FULL
            return real(*args)

        return function

    if not links:
        monkeypatch.setattr("onnxprune.graph.staging.os.link", lambda *_: (_ for _ in ()).throw(OSError()))
    if call == "fsync":
        monkeypatch.setattr("onnxprune.graph.staging.os.fsync", failing(real_sync))
    else:
        monkeypatch.setattr(Path, "replace", failing(real_replace))
    with pytest.raises(OutputError, match="Nothing was changed"):
        save_model(model_of(), tmp_path / "out.onnx", external=True)
    assert contents(tmp_path) == before


def test_a_source_that_changed_meanwhile_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    save_model(model_of(), tmp_path / "in" / "in.onnx", external=True)
    model = load_model(tmp_path / "in" / "in.onnx")
    (tmp_path / "in" / "in.onnx.data").write_bytes(b"short")
    with pytest.raises(ModelError, match="changed after"):
        save_model(model, tmp_path / "out" / "out.onnx")
    assert contents(tmp_path / "out") == {}


def test_staging_takes_files_of_any_kind(tmp_path: Path) -> None:
    with Staging() as staging:
        staging.open(tmp_path / "a.json").write(b"{}")
        staging.open(tmp_path / "b.txt").write(b"b")
        assert all(path.name.startswith(".") for path in tmp_path.iterdir())
    assert contents(tmp_path) == {"a.json": b"{}", "b.txt": b"b"}


def test_opset_of_a_domain_that_is_not_imported_is_our_mistake() -> None:
    model = model_of()
    model.nodes[0].domain = "not.imported"
    with pytest.raises(InternalError, match=r"not\.imported"):
        model.to_proto()


def test_what_a_killed_process_left_goes_with_the_next_file(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, signal\n"
        "from onnxprune.graph import Staging\n"
        "with Staging() as staging:\n"
        "    staging.open(pathlib.Path('net.onnx')).write(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False)
    assert killed.returncode != 0
    assert len(list(tmp_path.iterdir())) == 1
    with Staging() as mine, Staging() as other:
        other.open(tmp_path / "net.onnx").write(b"other")
        mine.open(tmp_path / "net.onnx").write(b"mine")  # leaves alone what a living process writes
        assert len(list(tmp_path.iterdir())) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]
