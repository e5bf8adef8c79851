"""Public calls print nothing and leave the process as they found it.

The calls run in a process of their own: what a test runner captures, logs and seeds cannot hide what they do.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from bridging import convnet, labelled

PROGRAM = """
import json, locale, logging, os, random, signal, sys, threading, warnings

import numpy as np
import onnx, onnxruntime, onnx_graphsurgeon, torch

import onnxprune
from onnxprune import pipeline


def rng(state):
    return hash(bytes(state))


def state():
    loggers = {name: logging.getLogger(name) for name in ("", "onnxprune", "torch", "torch.onnx", "onnx", "OSG")}
    return {
        "random": hash(random.getstate()),
        "numpy": rng(np.random.get_state()[1].tobytes()) + np.random.get_state()[2],
        "torch": rng(torch.random.get_rng_state().numpy().tobytes()),
        "torch threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "torch modes": (str(torch.get_default_dtype()), torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "torch numerics": (torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision()),
        "torch cudnn": (torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark,
                        torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32),
        "torch attention": torch.backends.mha.get_fastpath_enabled(),
        "numpy errors": sorted(np.geterr().items()),
        "numpy printing": repr(np.get_printoptions()),
        "folder": os.getcwd(),
        "environment": dict(sorted(os.environ.items())),
        "path": list(sys.path),
        "logging": {name: (logger.level, logger.disabled, len(logger.handlers)) for name, logger in loggers.items()},
        "logging off": logging.root.manager.disable,
        "warnings": repr(warnings.filters),
        "signals": {str(number): repr(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)},
        "hooks": (repr(sys.excepthook), repr(threading.excepthook), repr(warnings.showwarning)),
        "streams": (id(sys.stdout), id(sys.stderr)),
        "locale": locale.setlocale(locale.LC_ALL),
        "recursion": sys.getrecursionlimit(),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "files": sorted(os.listdir(".")),
    }


def difference(before, after):
    if isinstance(before, dict):
        return sorted(map(repr, set(before.items()) ^ set(after.items())))
    return [repr(before), repr(after)]


# torch's first optimizer names a cache folder in the environment and lets sympy add a filter of warnings
weight = torch.nn.Parameter(torch.zeros(1))
torch.optim.SGD([weight], lr=0.1).step()

net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(288, 5))
data = dict(np.load("data.npz"))
proto = onnx.load("net.onnx")
training = {"data": data, "eval_data": data, "epochs": 1, "batch_size": 32}
calls = {
    "inspect": lambda: onnxprune.inspect("net.onnx"),
    "compress": lambda: onnxprune.compress(proto, flops=0.5, **training),
    "compress without data": lambda: onnxprune.compress(proto, flops=0.5),
    "compress to a latency": lambda: onnxprune.compress(proto, latency=0.98, threads=1),
    "compress tiles": lambda: onnxprune.compress(
        proto, size=0.7, pattern="tiles", block="1x8", allocator="global", **training
    ),
    "retrain": lambda: onnxprune.retrain(proto, proto, **training),
    "validate": lambda: onnxprune.validate("net.onnx", proto, data=data),
    "bench": lambda: onnxprune.bench(["net.onnx", "net.onnx"], repeats=5, seconds=0.2, starts=1, nodes=2),
    "a module": lambda: onnxprune.inspect(net, example_inputs=torch.zeros(2, 3, 8, 8)),
    "bridge": lambda: onnxprune.bridge.to_torch(proto),
    "a refused model": lambda: onnxprune.inspect("none.onnx"),
    "a budget out of reach": lambda: onnxprune.compress(proto, flops=1e-6),
}
found = {}
for name in json.loads(sys.argv[1]):
    before = state()
    refused = ""
    try:
        calls[name]()
    except onnxprune.OnnxPruneError as error:
        refused = f"{type(error).__name__}: {error}"
    after = state()
    changed = {key: difference(before[key], after[key]) for key in before if before[key] != after[key]}
    found[name] = {"changed": changed, "refused": refused}
with open(sys.argv[2], "w") as file:
    json.dump(found, file)
"""
REFUSED = {"a refused model": "ModelError", "a budget out of reach": "BudgetError"}
QUICK = ("inspect", "compress", "bridge", *REFUSED)
SLOW = ("a module", "validate", "bench", "compress without data", "compress tiles", "compress to a latency", "retrain")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The current folder of the calls: a model and data."""
    inside = tmp_path / "in"
    inside.mkdir()
    onnx.save(convnet(), inside / "net.onnx")
    np.savez(inside / "data.npz", **labelled(96))
    return inside


def _check(folder: Path, names: tuple[str, ...]) -> None:
    answer = folder.parent / "found.json"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(names), str(answer)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    found = json.loads(answer.read_text(encoding="utf-8"))
    assert {name: each["changed"] for name, each in found.items() if each["changed"]} == {}
    assert {name: each["refused"].partition(":")[0] for name, each in found.items() if each["refused"]} == {
        name: kind for name, kind in REFUSED.items() if name in names
    }


def test_calls_print_nothing_and_change_no_global_state(folder: Path) -> None:
    _check(folder, QUICK)


@pytest.mark.slow
def test_longer_calls_print_nothing_and_change_no_global_state(folder: Path) -> None:
    _check(folder, SLOW)
