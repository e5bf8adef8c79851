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


def _run(folder: Path, *launcher: str, out: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, *launcher, "-m", "onnxprune", "compress", "net.onnx", *OPTIONS, "-o", out, "--json"]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.slow
def test_two_processes_make_the_model_that_one_makes(tmp_path):
    onnx.save(convnet(), tmp_path / "net.onnx")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((256, 3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "train.npz", x=x, labels=rng.integers(0, 5, 256))
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
