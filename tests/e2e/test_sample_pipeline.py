"""The files of samples/pipeline do what they say, as far as one machine can show it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest
from bridging import convnet, labelled

MADE = {"model.slim.onnx", "model.slim.report.json", "model.slim.report.html", "model.slim.report.md"}
LOOSE = {"top1_drop<=1.0": "top1_drop<=100", "size_ratio<=0.75": "size_ratio<=1"}


@pytest.fixture
def sample(repository: Path, tmp_path: Path) -> Path:
    """A folder with the sample, a small model and its data; its gates let every accuracy pass."""
    folder = tmp_path / "sample"
    shutil.copytree(repository / "samples" / "pipeline", folder)
    onnx.save(convnet(), folder / "model.onnx")
    for name, count in (("train", 96), ("test", 64)):
        np.savez(folder / f"{name}.npz", **labelled(count))
    recipe = folder / "recipe.toml"
    text = recipe.read_text(encoding="utf-8").replace("epochs = 3", "epochs = 1\nbatch_size = 32\nallocator = 'global'")
    for strict, loose in LOOSE.items():
        assert strict in text
        text = text.replace(strict, loose)
    recipe.write_text(text, encoding="utf-8")
    command = tmp_path / "bin" / "onnxprune"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m onnxprune "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    return folder


def shell(folder: Path, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs what a step of a pipeline says."""
    paths = os.pathsep.join([str(folder.parent / "bin"), os.environ["PATH"]])
    return subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=folder,
        # a make that runs this test is no part of it
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        | {"PATH": paths}
        | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def content(path: Path) -> Any:
    yaml = pytest.importorskip("yaml", reason="the sample is YAML")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def make(folder: Path, target: str) -> None:
    """Makes one target of the Makefile."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    done = shell(folder, f"make {target}")
    assert done.returncode == 0, done.stdout + done.stderr


def test_make_compresses_and_the_gates_become_tests(sample: Path) -> None:
    make(sample, "slim")
    assert {path.name for path in sample.iterdir()} >= MADE
    assert "Nothing to be done" in shell(sample, "make slim").stdout
    make(sample, "gates verify")
    suite = ElementTree.parse(sample / "gates.xml").getroot()
    assert [case.get("name") for case in suite.iter("testcase")] == [
        "top1_drop<=100",
        "size_ratio<=1",
        "macs_ratio<=0.5",
    ]
    assert suite.get("failures") == "0"


@pytest.mark.slow
def test_a_gate_that_is_not_met_stops_the_pipeline_and_is_a_failed_test(sample: Path) -> None:
    recipe = sample / "recipe.toml"
    recipe.write_text(recipe.read_text(encoding="utf-8").replace("size_ratio<=1", "size_ratio<=0.01"), encoding="utf-8")
    done = shell(sample, "onnxprune compress --recipe recipe.toml")
    assert done.returncode == 3, done.stderr
    assert {path.name for path in sample.iterdir()} >= MADE
    assert shell(sample, "onnxprune report model.slim.report.json -o gates.xml").returncode == 0
    assert ElementTree.parse(sample / "gates.xml").getroot().get("failures") == "1"
    stranger = convnet(seed=3)
    onnx.save(stranger, sample / "model.onnx")
    assert shell(sample, "onnxprune show model.slim.onnx --source model.onnx").returncode == 1


@pytest.mark.slow
def test_steps_of_the_github_workflow_run(sample: Path, tmp_path: Path) -> None:
    steps = content(sample / "github-workflow.yml")["jobs"]["slim"]["steps"]
    scripts = {step["name"]: step["run"] for step in steps if "run" in step}
    assert scripts.pop("Install") == "pip install onnxprune"
    summary = tmp_path / "summary.md"
    for name, script in scripts.items():
        done = shell(sample, script, GITHUB_STEP_SUMMARY=str(summary))
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
    assert summary.read_text(encoding="utf-8") == (sample / "model.slim.report.md").read_text(encoding="utf-8")
    uploaded = next(step["with"]["path"] for step in steps if "upload" in step.get("uses", "")).split()
    assert all(list(sample.glob(pattern)) for pattern in uploaded)


@pytest.mark.slow
def test_scripts_of_the_gitlab_job_run(sample: Path) -> None:
    job = content(sample / "gitlab-ci.yml")["slim"]
    assert job["before_script"] == ["pip install onnxprune"]
    for script in (*job["script"], *job["after_script"]):
        done = shell(sample, script)
        assert done.returncode == 0, done.stdout + done.stderr
    assert all((sample / name).is_file() for name in (*job["artifacts"]["paths"], job["artifacts"]["reports"]["junit"]))


@pytest.mark.slow
def test_the_dvc_stage_gives_what_it_names(sample: Path) -> None:
    stage = content(sample / "dvc.yaml")["stages"]["slim"]
    assert all((sample / name).is_file() for name in stage["deps"])
    done = shell(sample, stage["cmd"])
    assert done.returncode == 0, done.stdout + done.stderr
    outs = [next(iter(out)) if isinstance(out, dict) else out for out in (*stage["outs"], *stage["metrics"])]
    assert set(outs) == MADE
    json.loads((sample / "model.slim.report.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_make_bench_writes_timings(sample: Path) -> None:
    make(sample, "bench")
    points = json.loads((sample / "timing.json").read_text(encoding="utf-8"))["points"]
    assert [point["batch"] for point in points] == [1, 8]


def test_the_container_runs_the_command(sample: Path) -> None:
    lines = re.sub(r"\\\n", "", (sample / "Dockerfile").read_text(encoding="utf-8")).splitlines()
    words = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    assert [word for word, _ in words] == ["ARG", "FROM", "RUN", "RUN", "ENV", "WORKDIR", "ENTRYPOINT", "CMD"]
    for word, script in words:
        if word == "RUN":
            assert subprocess.run(["sh", "-n", "-c", script], check=False).returncode == 0
    assert json.loads(words[-2][1]) == ["onnxprune"]
