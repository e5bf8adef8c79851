"""`import onnxprune` is cheap, whatever the calls behind it need."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 0.3
HEAVY = ("onnx", "onnxruntime", "onnx_graphsurgeon", "torch", "scipy", "pydantic", "rich", "numpy")
FOR_MODELS = ("onnx", "onnxruntime", "onnx_graphsurgeon", "torch", "scipy", "safetensors")
PROGRAM = """
import json, sys, time
start = time.perf_counter()
import onnxprune
print(json.dumps([time.perf_counter() - start, sorted(sys.modules)]))
"""


def _run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def _loaded(program: str, names: tuple[str, ...]) -> list[str]:
    """Returns which of some libraries a program has loaded at its end."""
    said = _run(f"import json, sys\n{program}\nprint(json.dumps([name for name in {names} if name in sys.modules]))")
    found: list[str] = json.loads(said.splitlines()[-1])
    return found


def test_import_takes_under_a_third_of_a_second_at_best_of_five() -> None:
    seconds = [json.loads(_run(PROGRAM))[0] for _ in range(5)]
    assert min(seconds) < LIMIT_S, seconds


def test_import_loads_no_heavy_library() -> None:
    modules = json.loads(_run(PROGRAM))[1]
    assert [name for name in HEAVY if name in modules] == []


def test_recipes_load_no_library_for_models() -> None:
    assert _loaded("import onnxprune.recipe", FOR_MODELS) == []


def test_kernels_load_neither_torch_nor_onnxruntime() -> None:
    assert _loaded("import onnxprune.kernels", ("torch", "onnxruntime", "onnx_graphsurgeon")) == []


def test_help_loads_no_library_for_models() -> None:
    program = """
from onnxprune.cli.main import cli
for words in ["--version"], ["--help"], *([name, "--help"] for name in cli.commands):
    cli(words, standalone_mode=False)
"""
    assert _loaded(program, FOR_MODELS) == []


def test_options_that_do_not_fit_are_told_before_models_can_be_run() -> None:
    program = """
from click.testing import CliRunner
from onnxprune.cli.main import cli
for words in ["compress", "net.onnx"], ["retrain", "net.onnx"], ["validate", "a.onnx", "b.onnx", "--gate", "speed"]:
    said = CliRunner().invoke(cli, words)
    assert said.exit_code == 2, said.output
"""
    assert _loaded(program, ("torch", "onnxruntime")) == []


def test_bridge_is_loaded_when_asked_for() -> None:
    program = (
        "import sys, onnxprune\nbefore = 'torch' in sys.modules\nmodule = onnxprune.bridge\n"
        "print(before, module.__name__, 'torch' in sys.modules)"
    )
    assert _run(program).split() == ["False", "onnxprune.bridge", "True"]
