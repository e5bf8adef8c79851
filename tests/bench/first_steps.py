"""What somebody without prior knowledge does first, step by step and timed: installs, looks, prunes, gates.

    python tests/bench/first_steps.py [--json FILE] [--markdown FILE] [--keep FOLDER]

A fresh environment, an empty home and a folder of its own: nothing that is on this machine already helps, except what
package files pip keeps or finds nearby. The model is a small classifier of drawn patterns, 16×16 pixels, that
a user's own script trains; the gated step is the recipe of samples/pipeline as it is. Every step has to end with exit
code 0. Seconds are the wall clock's: what else the machine does is in them, and the load average is noted beside.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NETS = '''
"""The user's network."""
from torch import nn


def build():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )
'''
TRAIN = '''
"""The user's training: ten patterns, moved by up to two pixels, in noise."""
import numpy as np
import safetensors.torch
import torch
from nets import build

rng = np.random.default_rng(0)
patterns = rng.standard_normal((10, 16, 16))


def samples(count):
    labels = rng.integers(0, 10, count)
    moved = np.stack([np.roll(patterns[k], tuple(rng.integers(-2, 3, 2)), (0, 1)) for k in labels])
    images = moved + rng.standard_normal(moved.shape)
    return images[:, None].astype(np.float32), labels


torch.manual_seed(0)
net = build()
images, labels = samples(4096)
np.savez("train.npz", image=images, labels=labels)
test_images, test_labels = samples(1024)
np.savez("test.npz", image=test_images, labels=test_labels)
optimizer = torch.optim.Adam(net.parameters(), 3e-3)
for _ in range(4):
    for rows in torch.randperm(len(images)).split(64):
        optimizer.zero_grad()
        scores = net(torch.from_numpy(images[rows]))
        torch.nn.functional.cross_entropy(scores, torch.from_numpy(labels[rows])).backward()
        optimizer.step()
net.eval()
with torch.no_grad():
    right = (net(torch.from_numpy(test_images)).argmax(1).numpy() == test_labels).mean()
print(f"{right:.1%} right")
safetensors.torch.save_file(net.state_dict(), "weights.safetensors")
'''
DATA = ["--data", "train.npz", "--eval-data", "test.npz"]
COMMANDS = [
    ["--help"],
    ["doctor"],
    ["import", "nets:build", "--input", "image=1x1x16x16", "--weights", "weights.safetensors", "-o", "model.onnx"],
    ["inspect", "model.onnx"],
    ["compress", "model.onnx", "--flops", "0.4", "-o", "nodata.onnx"],
    ["compress", "model.onnx", "--flops", "0.4", "-o", "slim.onnx", *DATA, "--epochs", "3"],
    ["validate", "model.onnx", "slim.onnx", "--data", "test.npz"],
    ["compress", "--recipe", "recipe.toml"],
    ["report", "model.slim.report.json", "-o", "gates.xml"],
    ["show", "model.slim.onnx", "--source", "model.onnx"],
]


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        command: As it was typed.
        seconds: Of the wall clock.
        exit_code: What it returned.
        load: Load average of the last minute when it ended.
    """

    command: str
    seconds: float
    exit_code: int
    load: float


def _run(typed: str, command: Sequence[str], folder: Path, environment: dict[str, str]) -> Step:
    """Runs one step; ends the program where it fails."""
    print(f"$ {typed}", file=sys.stderr, flush=True)
    begin = time.monotonic()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    step = Step(typed, time.monotonic() - begin, done.returncode, os.getloadavg()[0])
    if done.returncode:
        sys.exit(f"exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return step


def first_steps(folder: Path) -> list[Step]:
    """Returns the steps, done in `folder`.

    Args:
        folder: An empty folder.
    """
    source, work, home = (folder / name for name in ("source", "work", "home"))
    shutil.copytree(
        ROOT, source, symlinks=True,
        ignore=shutil.ignore_patterns(".git", ".venv", "build", "*.so", "__pycache__", ".*_cache", "out", "*.egg-info"),
    )  # fmt: skip
    work.mkdir()
    home.mkdir()
    (work / "nets.py").write_text(NETS, encoding="utf-8")
    (work / "train.py").write_text(TRAIN, encoding="utf-8")
    shutil.copy(ROOT / "samples" / "pipeline" / "recipe.toml", work)
    drop = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME")
    environment = {name: v for name, v in os.environ.items() if name not in drop and not name.startswith("XDG_")}
    environment |= {"HOME": str(home), "PATH": f"{work / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    python = str(work / "venv" / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "-c", str(source / "constraints.txt"), str(source)]
    steps = [
        _run("python -m venv venv", [sys.executable, "-m", "venv", "venv"], work, environment),
        _run("pip install -c constraints.txt .", install, work, environment),
    ]
    for words in COMMANDS:
        if words[0] == "import":
            steps.append(_run("python train.py  (the user's own)", [python, "train.py"], work, environment))
        steps.append(_run(f"onnxprune {' '.join(words)}", ["onnxprune", *words], work, environment))
    return steps


def markdown(steps: Sequence[Step]) -> str:
    """Returns a table of the steps."""
    rows = [f"| `{step.command}` | {step.seconds:.1f} | {step.load:.1f} |" for step in steps]
    return "\n".join(["| step | seconds | load |", "|---|---|---|", *rows, ""])


def main(words: Sequence[str] | None = None) -> None:
    """Runs the steps; prints the table, and writes what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--keep", type=Path, help="an empty folder to work in, which stays")
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="first-steps-") as scratch:
        steps = first_steps(options.keep or Path(scratch))
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "machine": platform.machine()}
    if options.json:
        found = {"machine": machine, "steps": [asdict(step) for step in steps]}
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(markdown(steps), encoding="utf-8")
    print(markdown(steps), end="")


if __name__ == "__main__":
    main()
