"""The digits sample runs as documented, and what it says about the slim model is true."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest


@pytest.mark.slow
def test_digits_sample_meets_its_budget_and_keeps_its_accuracy(repository: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the sample needs the demo extra")
    pytest.importorskip("onnxscript", reason="the sample needs the demo extra")
    done = subprocess.run(
        [sys.executable, str(repository / "samples" / "digits" / "run.py"), str(tmp_path)],
        cwd=repository,
        env=os.environ | {"PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "MACs per sample" in done.stdout

    report = json.loads((tmp_path / "digits.slim.report.json").read_text(encoding="utf-8"))
    assert 0.392 <= report["after"]["macs"] / report["before"]["macs"] <= 0.4
    assert report["certificate"]["passed"] is True
    assert report["evaluation"]["before"]["top1"] >= 0.97
    assert report["evaluation"]["after"]["top1"] >= report["evaluation"]["before"]["top1"] - 0.01
    assert len(report["training"]["epochs"]) == 4

    slim, original = (onnx.load(tmp_path / name) for name in ("digits.slim.onnx", "digits.onnx"))
    assert slim.graph.input == original.graph.input
    assert slim.graph.output == original.graph.output
    assert (tmp_path / "digits.slim.onnx").stat().st_size < 0.6 * (tmp_path / "digits.onnx").stat().st_size
