"""The commands and the code of the guides run, in the order of the page, on small models."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import onnxruntime
import pytest
from block_sparse_cases import MatMulCase, model_of
from guide_models import write_classifier, write_detector, write_encoder

from onnxprune.kernels import available

FENCE = re.compile(r'^```(?P<kind>\w+)(?: title="(?P<title>[\w.]+)")?\n(?P<body>.*?)^```', re.DOTALL | re.MULTILINE)
LOOSE = {"top1_drop<=1.0": "top1_drop<=100", "size_ratio<=0.75": "size_ratio<=1"}
"""Bounds on accuracy that small models with random weights do not hold."""
FROM_TIMES = {"latency-budget": 5}
"""Guide → exit code that measured times may lead to: a machine with other load finds no model that is fast enough."""
GUIDES = {
    "cnn-classifier": write_classifier,
    "detector": write_detector,
    "transformer-encoder": write_encoder,
    "no-data": write_classifier,
    "latency-budget": write_classifier,
    "block-sparse": write_classifier,
    "pipeline": write_classifier,
    "library": write_classifier,
}
QUICK = ("library",)

pytestmark = pytest.mark.usefixtures("quick_latency")


def _blocks(text: str) -> Iterator[tuple[int, str, str, str]]:
    """Yields line, language, title and content of each block of code."""
    for block in FENCE.finditer(text):
        yield text.count("\n", 0, block.start()) + 1, block["kind"], block["title"] or "", block["body"]


def _commands(body: str) -> list[str]:
    """Returns what stands behind each prompt, with the lines that go on."""
    return [command.strip() for command in re.split(r"^\$ ", body.replace("\\\n", " "), flags=re.MULTILINE) if command]


def _run_shell(body: str, where: str, may_end: int) -> bool:
    """Runs the commands of a block; returns whether the page can go on."""
    for command in _commands(body):
        words = shlex.split(command)
        assert words[0] == "onnxprune", where
        done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode in (0, may_end), f"{where}: {command}\n{done.stdout}{done.stderr}"
        if done.returncode:
            return False
    return True


def _compile_and_run(body: str, where: str, shim: Path) -> subprocess.CompletedProcess[str]:
    """Compiles a program against onnxruntime's own library, and returns how it ran in the current folder."""
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    library = next(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"), None)
    if compiler is None or library is None:
        pytest.skip("needs a C++ compiler, and an onnxruntime that has its library as a file of its own")
    Path("main.cpp").write_text(body, encoding="utf-8")
    named = Path("libonnxruntime.so.1")  # as it calls itself
    if not named.exists():
        named.symlink_to(library)
    command = [compiler, "-std=c++17", "-Wall", "-Werror", f"-I{shim}", "main.cpp", str(named), "-o", "main"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{where}: {done.stderr}"
    paths = os.environ | {"LD_LIBRARY_PATH": f"{Path.cwd()}{os.pathsep}{library.parent}"}
    return subprocess.run(["./main"], capture_output=True, text=True, check=False, env=paths, timeout=300)


def _run_page(page: Path, shim: Path) -> int:
    """Runs the blocks of a page in the current folder; returns how many were run."""
    text = page.read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": "guide"}
    for _, _, title, body in _blocks(text):
        if title:
            for strict, loose in LOOSE.items():
                assert strict in body
                body = body.replace(strict, loose)
            Path(title).write_text(body, encoding="utf-8")
    ran = 0
    for line, kind, title, body in _blocks(text):
        where = f"{page.name}, line {line}"
        ran += not title
        if kind == "console":
            if not _run_shell(body, where, FROM_TIMES.get(page.stem, 0)):
                return ran
        elif kind == "python":
            exec(compile("\n" * line + body, str(page), "exec"), names)
        elif kind == "cpp":
            done = _compile_and_run(body, where, shim)
            assert (done.returncode, done.stderr) == (0, ""), where
        else:
            assert title, f"{where}: nothing is known of {kind}"
    return ran


@pytest.fixture
def run_guide(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], int]:
    """Runs a guide in a folder of its own."""

    def run(name: str) -> int:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setenv("PYTHONPATH", str(repository))
        GUIDES[name](tmp_path)
        return _run_page(repository / "docs" / "guides" / f"{name}.md", repository / "tests" / "ort_shim")

    return run


def test_every_guide_is_run(repository: Path) -> None:
    assert {page.stem for page in (repository / "docs" / "guides").glob("*.md")} == set(GUIDES)


@pytest.mark.parametrize("name", QUICK)
def test_quick_guide_runs(run_guide: Callable[[str], int], name: str) -> None:
    assert run_guide(name) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in GUIDES if name not in QUICK])
def test_guide_runs(run_guide: Callable[[str], int], name: str) -> None:
    assert run_guide(name) > 0


@pytest.fixture
def program(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The program of the guide; the current folder holds a tiled.onnx that only kernels can compute."""
    monkeypatch.chdir(tmp_path)
    case = MatMulCase(tiles=2, width=16, block=16, kept=2, inputs=64)
    onnx.save(model_of(case, case.arrays(), bodies=False), "tiled.onnx")
    page = (repository / "docs" / "guides" / "block-sparse.md").read_text(encoding="utf-8")
    (body,) = (body for _, kind, _, body in _blocks(page) if kind == "cpp")
    return body


def test_the_program_of_the_guide_registers_the_kernels(program: str, repository: Path) -> None:
    found = available()
    if not found or found.library is None:
        pytest.skip(f"no kernels: {found.reason}")
    Path("libonnxprune.so").symlink_to(found.library)
    done = _compile_and_run(program, "block-sparse.md", repository / "tests" / "ort_shim")
    assert (done.returncode, done.stderr) == (0, "")
    without = program.replace('  options.RegisterCustomOpsLibrary("./libonnxprune.so");\n', "")
    assert without != program
    done = _compile_and_run(without, "block-sparse.md", repository / "tests" / "ort_shim")
    assert done.returncode != 0
    assert "BlockSparseMatMul" in done.stderr


def test_the_program_of_the_guide_names_a_library_that_is_missing(program: str, repository: Path) -> None:
    done = _compile_and_run(program, "block-sparse.md", repository / "tests" / "ort_shim")
    assert done.returncode != 0
    assert "libonnxprune.so" in done.stderr
