"""A workflow of Olive with our pass in it, as its command line runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from bridging import convnet

pytest.importorskip("olive", reason="olive-ai is not installed (onnxprune[olive])")
from onnxprune.adapters.olive import main, package_config

pytestmark = pytest.mark.slow


def workflow(folder: Path, **options: object) -> Path:
    """Writes a model and a workflow that prunes it; returns the workflow's place."""
    onnx.save(convnet(), folder / "net.onnx")
    path = folder / "workflow.json"
    system = {
        "type": "LocalSystem",
        "accelerators": [{"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}],
    }
    steps = {"prune": {"type": "OnnxPrune", "options": {"threads": 1, "align": 1}, **options}}
    path.write_text(
        json.dumps(
            {
                "input_model": {"type": "ONNXModel", "model_path": str(folder / "net.onnx")},
                "passes": steps,
                "systems": {"local": system},
                "host": "local",
                "target": "local",
                "output_dir": str(folder / "out"),
                "cache_dir": str(folder / "cache"),
            }
        ),
        encoding="utf-8",
    )
    return path


def run(folder: Path, path: Path) -> subprocess.CompletedProcess[str]:
    assert main([str(folder / "packages.json")]) == 0
    command = [sys.executable, "-m", "olive", "run", "--config", str(path)]
    return subprocess.run(
        [*command, "--package-config", str(folder / "packages.json")], capture_output=True, text=True, check=False
    )


def test_a_workflow_prunes_and_keeps_the_report(tmp_path: Path) -> None:
    done = run(tmp_path, workflow(tmp_path, flops=0.5))
    assert done.returncode == 0, done.stdout + done.stderr
    (report,) = (tmp_path / "out").glob("*.report.json")
    found = json.loads(report.read_text(encoding="utf-8"))
    assert found["after"]["macs"] <= 0.5 * found["before"]["macs"]
    (model,) = (tmp_path / "out").glob("*.onnx")
    onnx.checker.check_model(onnx.load(model))


def test_a_budget_out_of_reach_is_said(tmp_path: Path) -> None:
    done = run(tmp_path, workflow(tmp_path, flops=0.0001))
    assert "cannot be met" in done.stdout + done.stderr


def test_the_package_configuration_keeps_the_passes_of_olive() -> None:
    passes = package_config()["passes"]
    assert passes["OnnxPrune"]["module_path"] == "onnxprune.adapters.olive.OnnxPrune"
    assert "OnnxPeepholeOptimizer" in passes
