"""What the project ships: the wheel, built from the sdist, holds every module and data file."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import onnxprune

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _build(kind: str, source: Path, target: Path) -> Path:
    command = [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", str(target), str(source)]
    # as on a machine without a compiler, which is quicker; the kernels have tests of their own
    env = {**os.environ, "CC": "false", "CXX": "false"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = target.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return built


def _packages_on_disk() -> set[str]:
    inside = {p.parent.relative_to(ROOT).as_posix().replace("/", ".") for p in (ROOT / "onnxprune").rglob("*.py")}
    return inside | {"onnxprune.passes"}


def test_packages_are_all_listed() -> None:
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == _packages_on_disk()


def test_every_package_has_an_init() -> None:
    missing = [
        name
        for name in PROJECT["tool"]["setuptools"]["packages"]
        if not (ROOT / name.replace(".", "/") / "__init__.py").is_file()
    ]
    assert missing == []


def test_passes_is_a_relative_link() -> None:
    link = ROOT / "onnxprune" / "passes"
    assert link.is_symlink()
    assert link.readlink() == Path("../passes")


def test_passes_cannot_be_imported_under_another_name() -> None:
    command = [sys.executable, "-c", "import passes"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Import onnxprune.passes" in done.stderr


def test_every_requirement_is_pinned_for_the_tests() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.split("==")[0].lower() for line in lines if "==" in line}
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [*PROJECT["project"]["dependencies"], *(text for extra in extras.values() for text in extra)]
    names = {re.split(r"[^\w.-]", text)[0].lower() for text in wanted}
    # the plain onnxruntime is for machines that have no GPU wheel, and has its own release dates
    assert names - pinned == {"onnxruntime"}


def test_wheel_from_sdist_holds_everything(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"  # building writes beside the sources
    for folder in ("onnxprune", "passes"):
        shutil.copytree(
            ROOT / folder, checkout / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.so")
        )
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, checkout)
    sdist = _build("sdist", checkout, tmp_path / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    wheel = _build("wheel", source, tmp_path / "wheel")

    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read(f"onnxprune-{onnxprune.__version__}.dist-info/METADATA").decode()
    modules = {p.relative_to(ROOT).as_posix() for p in (ROOT / "onnxprune").rglob("*.py")}
    passes = {f"onnxprune/passes/{p.name}" for p in (ROOT / "passes").glob("*.py")}
    assert {name for name in names if name.endswith(".py")} == modules | passes
    assert {"onnxprune/py.typed", "onnxprune/report/schema.json"} <= names
    assert f"onnxprune-{onnxprune.__version__}.dist-info/licenses/LICENSE" in names
    assert "License-Expression: Apache-2.0" in metadata
