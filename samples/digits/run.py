"""Trains a small network on scikit-learn's digits, exports it, and compresses it to 40 % of its MACs.

    python samples/digits/run.py [FOLDER]

Everything is written to FOLDER (default: out/ beside this file). The compression is what
`onnxprune compress --recipe recipe.toml` does; nothing here knows how the network is built.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from network import accuracy, export, train
from sklearn.datasets import load_digits

__all__ = ["main"]

HERE = Path(__file__).resolve().parent
MEAN, STD = 0.3, 0.35
TEST_SAMPLES = 500
SEED = 0


def write_data(folder: Path) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Writes train.npz and test.npz with uint8 images; returns both as the network takes them."""
    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = digits.target.astype(np.int64)
    order = np.random.default_rng(SEED).permutation(len(labels))
    ready = {}
    for name, chosen in (("train", order[TEST_SAMPLES:]), ("test", order[:TEST_SAMPLES])):
        np.savez(folder / f"{name}.npz", image=images[chosen], labels=labels[chosen])
        pixels = torch.from_numpy(images[chosen]).float() / 255
        ready[name] = ((pixels - MEAN) / STD, torch.from_numpy(labels[chosen]))
    return ready


def main(folder: Path) -> int:
    """Runs the sample in `folder`; returns the exit code of `onnxprune compress`."""
    folder.mkdir(parents=True, exist_ok=True)
    data = write_data(folder)
    net = train(*data["train"], epochs=8, seed=SEED)
    print(f"Trained: {accuracy(net, *data['test']):.1%} of {TEST_SAMPLES} test digits are right.")
    export(net, folder / "digits.onnx")
    recipe = shutil.copy(HERE / "recipe.toml", folder)
    command = ["onnxprune", "compress", "--recipe", str(recipe)]
    print("$", *command, flush=True)
    return subprocess.run([sys.executable, "-m", *command], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "out"))
