"""One file and one library in several versions of onnxruntime, each in its own environment.

    python tests/bench/ort_versions.py [VERSION...] [--environments FOLDER]

For each operator, with and without the library registered, with and without graph optimisation, the outputs are
compared with the float64 reference; and it is checked that with the library the kernels are what runs. The same for
layers in the forms that the export knows: those of the form "body" never run by kernels, and of a weight stored packed
("densify") nothing is left to be expanded once a session has loaded it. A version before 1.18 must refuse the library
with a sentence, and run the bodies. The CUDA kernels run on an emulated device. Environments are made with pip where
FOLDER lacks them. Prints a line for each version; ends with 1 where something differs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from block_sparse_cases import ConvCase, MatMulCase, kernel_library, model_of
from cuda_emulation import emulator
from form_cases import OPERATORS, dense_model, expected, layer_of

from onnxprune.kernels import ACTIVATIONS, Window
from onnxprune.kernels.rewrite import write_forms

__all__ = ["main"]

VERSIONS = ("1.17.3", "1.18.1", "1.20.1", "1.23.2", "1.31.1")
OLDEST = (1, 18)
NUMPY_2 = (1, 19)
RUNNER = """
import ctypes, json, os, sys
import numpy as np, onnxruntime as ort
folder, library, emulator = sys.argv[1:]
os.environ.update(ONNXPRUNE_CUDA_DRIVER=emulator, ONNXPRUNE_NVRTC=emulator, ONNXPRUNE_CUDA_TF32="0")
select = ctypes.CDLL(library).onnxprune_kernels_select
cases = json.load(open(f"{folder}/cases.json"))
levels = (ort.GraphOptimizationLevel.ORT_ENABLE_ALL, ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
found = {"version": ort.__version__, "kernels": 0.0, "bodies": 0.0, "refused": "", "ran": 0}
for name, dtype in cases:
    data = np.load(f"{folder}/{name}.npz")
    for use in (True, False):
        for level in levels:
            options = ort.SessionOptions()
            options.log_severity_level = 4
            options.graph_optimization_level = level
            options.enable_profiling = True
            options.profile_file_prefix = f"{folder}/profile"
            if use:
                select(2 if name.startswith("device") else 0)
                try:
                    options.register_custom_ops_library(library)
                except Exception as error:
                    found["refused"] = str(error)
                    continue
            session = ort.InferenceSession(f"{folder}/{name}.onnx", options, providers=["CPUExecutionProvider"])
            y = session.run(None, {"x": data["x"]})[0]
            events = json.load(open(session.end_profiling()))
            ran = {event.get("args", {}).get("op_name", "") for event in events}
            by_kernel = use and not name.startswith(("body", "densify"))
            assert any(op.startswith("BlockSparse") for op in ran) == by_kernel, (name, use, level, ran)
            if name.startswith("densify") and level == levels[0]:
                assert not ran & {"ScatterND", "ConstantOfShape", "Range", "Concat", "Reshape", "Slice"}, (name, ran)
            scale = 100 if dtype == "float16" else 1
            off = float(np.abs(y - data["y"]).max() / max(1.0, np.abs(data["y"]).max())) / scale
            found["kernels" if use else "bodies"] = max(found["kernels" if use else "bodies"], off)
            found["ran"] += 1
print(json.dumps(found))
"""
TOLERANCE = 1e-5


def main(words: Sequence[str] | None = None) -> int:
    """Runs all versions; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", nargs="*", default=list(VERSIONS))
    parser.add_argument("--environments", type=Path)
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "models"
        _write_models(folder)
        environments = options.environments or Path(scratch) / "environments"
        results = [_run(version, folder, environments) for version in options.versions]
    return 0 if all(results) else 1


def _cases() -> dict[str, MatMulCase | ConvCase]:
    strided = Window((3, 3), (1, 0, 1, 1), (2, 2))
    cases: dict[str, MatMulCase | ConvCase] = {}
    for act in ACTIVATIONS:
        cases[f"matmul{act}"] = MatMulCase(3, 20, 4, 3, 30, (2, 7), cut=3, act=act)
        cases[f"conv{act}"] = ConvCase(2, 32, 4, 3, 18, (9, 11), strided, cut=5, act=act)
        cases[f"pixels{act}"] = ConvCase(2, 8, 1, 3, 6, (9, 11), act=act, bias=False)
    cases["device matmul"] = MatMulCase(3, 64, 8, 3, 30, (2, 7), cut=3, act="Gelu", dtype="float16")
    cases["device conv"] = ConvCase(2, 32, 8, 3, 18, (9, 11), strided, cut=5, act="Clip")
    cases["half"] = MatMulCase(3, 20, 4, 3, 32, (7,), dtype="float16")
    cases["double"] = MatMulCase(3, 20, 4, 3, 32, (7,), dtype="float64")
    return cases


def _write_models(folder: Path) -> None:
    folder.mkdir()
    cases = _cases()
    for name, case in cases.items():
        arrays = case.arrays()
        (folder / f"{name}.onnx").write_bytes(model_of(case, arrays, opset=17).SerializeToString())
        np.savez(folder / f"{name}.npz", x=arrays["x"], y=case.expected(arrays))
    forms = dict(_forms())
    for name, (model, x, y) in forms.items():
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
        np.savez(folder / f"{name}.npz", x=x, y=y)
    known = [[name, case.dtype] for name, case in cases.items()]
    known += [[name, str(x.dtype)] for name, (_, x, _) in forms.items()]
    (folder / "cases.json").write_text(json.dumps(known))


def _forms() -> Iterator[tuple[str, tuple[onnx.ModelProto, NDArray[Any], NDArray[Any]]]]:
    """Yields a layer in each form, with an input and what it should give."""
    for form, operator, dtype in itertools.product(("kernel", "body", "densify"), OPERATORS, ("float32", "float16")):
        for opset in (13, 17):
            model, x = dense_model(operator, dtype, opset)
            written = write_forms(model, [(layer_of(operator), form)])
            yield f"{form}_{operator}_{dtype}_{opset}", (written, x, expected(model, x))


def _run(version: str, folder: Path, environments: Path) -> bool:
    python = _environment(version, environments)
    command = [str(python), "-c", RUNNER, str(folder), str(kernel_library()), str(emulator())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"onnxruntime {version}: FAILED\n{done.stderr}")
        return False
    found = json.loads(done.stdout.splitlines()[-1])
    old = _numbers(version) < OLDEST
    good = found["bodies"] < TOLERANCE and found["kernels"] < TOLERANCE
    good = good and ("1.18" in found["refused"] if old else not found["refused"])
    kernels = f"the library refused: {found['refused']}" if found["refused"] else f"kernels {found['kernels']:.1e} off"
    print(
        f"onnxruntime {found['version']}: {kernels}; bodies {found['bodies']:.1e} off; {found['ran']} sessions"
        f"{'' if good else ': WRONG'}",
        flush=True,
    )
    return bool(good)


def _environment(version: str, environments: Path) -> Path:
    """Returns the Python of an environment with one onnxruntime."""
    home = environments / f"onnxruntime-{version}"
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, with_pip=True)
        numpy = "numpy>=2" if _numbers(version) >= NUMPY_2 else "numpy<2"
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", f"onnxruntime=={version}", numpy], check=True)
    return python


def _numbers(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


if __name__ == "__main__":
    sys.exit(main())
