"""The library is built where there is a compiler; without one the installation passes and models run."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from onnxprune.cli.main import cli
from onnxprune.core.errors import OutputError
from onnxprune.kernels import BuildError, available, build, compilation, library
from onnxprune.kernels.compilation import FLAGS, cache_path, sources

ROOT = Path(__file__).resolve().parents[3]
SOURCES = ROOT / "onnxprune" / "kernels" / "src"
(EXTENSION,) = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["ext-modules"]


def test_extension_lists_every_source() -> None:
    assert EXTENSION["optional"] is True
    assert EXTENSION["sources"] == [path.relative_to(ROOT).as_posix() for path in sources()]
    others = sorted(p.relative_to(ROOT).as_posix() for p in SOURCES.iterdir() if p.suffix != ".cpp")
    assert EXTENSION["depends"] == others


def test_extension_and_build_use_the_same_flags() -> None:
    assert set(EXTENSION["extra-compile-args"]) == set(FLAGS) - {"-fPIC", "-shared"}
    assert not any(flag.startswith("-march") for flag in EXTENSION["extra-compile-args"])


def test_vector_instructions_stay_in_their_files() -> None:
    # a template of the standard library, compiled for AVX-512, could be linked into code that runs without it
    for path in SOURCES.iterdir():
        if "#pragma GCC target" in path.read_text(encoding="utf-8"):
            assert path.name.startswith("isa_")
            assert re.findall(r"#include [<\"](.*)[>\"]", path.read_text(encoding="utf-8")) == [
                "isa.h",
                "isa_kernels.inc",
            ]
    assert "std::vector" not in (SOURCES / "isa.h").read_text(encoding="utf-8")


def test_no_compiler_is_a_paragraph_and_exit_code_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    outcome = CliRunner().invoke(cli, ["build-ops", "-o", str(tmp_path / "ops.so")])
    assert outcome.exit_code == 1
    assert "There is no compiler 'g++' on PATH" in " ".join(outcome.stderr.split())
    assert outcome.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_compiler_that_fails_says_what_it_said(tmp_path: Path) -> None:
    compiler = tmp_path / "broken"
    compiler.write_text("#!/bin/sh\necho 'x.cpp:1: error: no such thing' >&2\nexit 3\n", encoding="utf-8")
    compiler.chmod(0o755)
    with pytest.raises(BuildError, match=r"failed with status 3.*no such thing"):
        build(tmp_path / "ops.so", compiler=str(compiler))
    assert not (tmp_path / "ops.so").exists()


def test_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        build(tmp_path / "file" / "ops.so")


def test_other_machines_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(BuildError, match="Linux on x86-64"):
        build(tmp_path / "ops.so")


def test_cache_follows_the_sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = cache_path()
    copied = tmp_path / "src"
    shutil.copytree(SOURCES, copied)
    monkeypatch.setattr(compilation, "_SOURCES", copied)
    assert cache_path() == before
    (copied / "conv.cpp").write_text("// changed", encoding="utf-8")
    assert cache_path() != before
    assert before.parent == tmp_path / "onnxprune"


def test_sources_are_not_read_where_a_library_is_packaged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if available().library is None:
        pytest.skip("the library was not built at installation")

    def read() -> Path:
        raise AssertionError("all sources were read")

    monkeypatch.setattr(library, "cache_path", read)
    assert available().library is not None


def test_file_that_is_no_library_is_a_reason(tmp_path: Path) -> None:
    wrong = tmp_path / "ops.so"
    wrong.write_bytes(b"not a library")
    found = available(wrong)
    assert not found
    assert "cannot be loaded" in found.reason


@pytest.mark.slow
def test_build_ops_builds(tmp_path: Path) -> None:
    outcome = CliRunner().invoke(cli, ["build-ops", "-o", str(tmp_path / "ops.so"), "--json"])
    assert outcome.exit_code == 0, outcome.output
    assert json.loads(outcome.stdout)["library"] == str(tmp_path / "ops.so")
    shown = subprocess.run(
        ["nm", "-D", "--defined-only", tmp_path / "ops.so"], capture_output=True, text=True, check=True
    )
    exported = {line.split()[-1] for line in shown.stdout.splitlines() if " T " in line}
    cuda = {f"onnxprune_cuda_{name}" for name in ("covers", "device", "driver", "nvrtc", "prepare", "search")}
    cuda |= {"onnxprune_cuda_shape", "onnxprune_cuda_source"}
    ours = {f"onnxprune_kernels_{name}" for name in ("isa", "select", "version")}
    assert exported == {"RegisterCustomOps"} | ours | cuda


@pytest.mark.slow
@pytest.mark.parametrize("compiler", [True, False], ids=["compiler", "no compiler"])
def test_wheel_is_built_with_and_without_a_compiler(compiler: bool, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    for folder in ("onnxprune", "passes"):
        skipped = shutil.ignore_patterns("__pycache__", "*.so")
        shutil.copytree(ROOT / folder, checkout / folder, symlinks=True, ignore=skipped)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, checkout)
    environment = {**os.environ} if compiler else {**os.environ, "PATH": str(tmp_path), "CC": "none", "CXX": "none"}
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(tmp_path), str(checkout)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    shutil.unpack_archive(wheel, tmp_path / "installed", "zip")
    room = tmp_path / "installed" / "onnxprune" / "kernels"
    assert {p.name for p in (room / "src").iterdir()} == {p.name for p in SOURCES.iterdir()}
    found = list(room.glob("_library*.so"))
    assert len(found) == (1 if compiler else 0)
    if compiler:
        assert available(found[0]).library == found[0]
