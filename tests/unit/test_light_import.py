"""`import onnxprune` is cheap, whatever the calls behind it need."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 0.3
HEAVY = ("onnx", "onnxruntime", "onnx_graphsurgeon", "torch", "scipy", "pydantic", "rich", "numpy")
PROGRAM = """
import json, sys, time
start = time.perf_counter()
import onnxprune
print(json.dumps([time.perf_counter() - start, sorted(sys.modules)]))
"""


def _run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_import_takes_under_a_third_of_a_second_at_best_of_five() -> None:
    seconds = [json.loads(_run(PROGRAM))[0] for _ in range(5)]
    assert min(seconds) < LIMIT_S, seconds


def test_import_loads_no_heavy_library() -> None:
    modules = json.loads(_run(PROGRAM))[1]
    assert [name for name in HEAVY if name in modules] == []


def test_help_loads_neither_torch_nor_onnxruntime() -> None:
    program = (
        "import sys\nfrom onnxprune.cli.main import cli\n"
        "cli(['compress', '--help'], standalone_mode=False)\n"
        "print([m for m in ('torch', 'onnxruntime', 'onnx') if m in sys.modules])"
    )
    assert _run(program).splitlines()[-1] == "[]"


def test_bridge_is_loaded_when_asked_for() -> None:
    program = (
        "import sys, onnxprune\nbefore = 'torch' in sys.modules\nmodule = onnxprune.bridge\n"
        "print(before, module.__name__, 'torch' in sys.modules)"
    )
    assert _run(program).split() == ["False", "onnxprune.bridge", "True"]
