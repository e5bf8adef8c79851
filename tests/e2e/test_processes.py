"""`torchrun -m onnxprune compress`: two processes train one model, and one of them writes it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from bridging import answers, convnet

from onnxprune.graph import load_model

OPTIONS = ["--flops", "0.5", "--data", "train.npz", "--epochs", "2", "--batch-size", "32", "--lr", "0.01"]


def _run(folder: Path, *launcher: str, out: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, *launcher, "-m", "onnxprune", "compress", "net.onnx", *OPTIONS, *options, "-o", out]
    words.append("--json")
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


def _prepare(folder: Path) -> np.ndarray:
    """Writes a net and its data; returns the inputs."""
    onnx.save(convnet(), folder / "net.onnx")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((256, 3, 8, 8)).astype(np.float32)
    np.savez(folder / "train.npz", x=x, labels=rng.integers(0, 5, 256))
    return x


@pytest.mark.slow
def test_two_processes_meet_a_latency_that_one_of_them_measures(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    _prepare(tmp_path)
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node", "2")
    done = _run(tmp_path, *launcher, out="two.onnx", options=("--latency", "0.97", "--allocator", "dsa"))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {b["resource"] for b in report["budgets"]} == {"flops", "latency"}
    assert any("met by timing" in note for note in report["notes"])
    assert report["training"]["processes"] == 2


@pytest.mark.slow
def test_two_processes_make_the_model_that_one_makes(tmp_path):
    x = _prepare(tmp_path)
    alone = _run(tmp_path, out="one.onnx")
    assert alone.returncode == 0, alone.stderr
    both = _run(tmp_path, "-m", "torch.distributed.run", "--nproc-per-node", "2", out="two.onnx")
    assert both.returncode == 0, both.stderr
    report = json.loads(both.stdout)
    assert report["training"]["processes"] == 2
    losses = [[e["loss"] for e in json.loads(run.stdout)["training"]["epochs"]] for run in (alone, both)]
    np.testing.assert_allclose(losses[1], losses[0], atol=1e-3)
    one, two = (answers(load_model(tmp_path / name), {"x": x[:64]})["y"] for name in ("one.onnx", "two.onnx"))
    np.testing.assert_allclose(two, one, atol=1e-2 * np.abs(one).max())
    assert not (tmp_path / "two.run").exists()
