"""Killed without warning at ten moments, a run ends with the same bytes as one that nobody disturbed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from bridging import convnet

KILLS = 10


def _command(folder: Path, *more: str) -> list[str]:
    words = [sys.executable, "-m", "onnxprune", "compress", "net.onnx", "--flops", "0.5", "--data", "train.npz"]
    words += ["--epochs", "6", "--phases", "2", "--batch-size", "8", "--checkpoint-seconds", "0", "-o", "slim.onnx"]
    return [*words, "--quiet", *more]


def _folder(path: Path) -> Path:
    path.mkdir()
    onnx.save(convnet(), path / "net.onnx")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((512, 3, 8, 8)).astype(np.float32)
    np.savez(path / "train.npz", x=x, labels=rng.integers(0, 5, 512))
    return path


@pytest.mark.slow
def test_run_killed_ten_times_ends_with_the_same_bytes(tmp_path):
    undisturbed, killed = _folder(tmp_path / "undisturbed"), _folder(tmp_path / "killed")
    started = time.monotonic()
    subprocess.run(_command(undisturbed), cwd=undisturbed, check=True, capture_output=True)
    seconds = time.monotonic() - started
    seed = time.time_ns() % 2**32  # named where an assertion fails
    rng = np.random.default_rng(seed)
    died = 0
    for _ in range(KILLS):
        process = subprocess.Popen(
            _command(killed, "--resume"), cwd=killed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(rng.uniform(0.2, 0.9) * seconds)
        process.kill()
        died += process.wait() != 0
        if (killed / "slim.onnx").exists():  # it was faster than the kill: begin anew
            (killed / "slim.onnx").unlink()
    assert died >= KILLS // 2, f"only {died} of {KILLS} runs were killed before their end (seed {seed})"
    subprocess.run(_command(killed, "--resume"), cwd=killed, check=True, capture_output=True)
    assert (killed / "slim.onnx").read_bytes() == (undisturbed / "slim.onnx").read_bytes(), f"seed {seed}"
    assert sorted(p.name for p in killed.iterdir()) == sorted(p.name for p in undisturbed.iterdir())
