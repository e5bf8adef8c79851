"""All that a machine with a CUDA device is asked about the block-sparse kernels, in one run of some minutes.

    python -m tests.bench.gpu_session --json FILE [--minutes 8] [--only STEP...]
    python -m tests.bench.gpu_session --write-docs FILE

Needs onnx, numpy, PyTorch, onnxruntime-gpu for the steps in a session, and the library of kernels, or g++ to build it.
Steps: what is here; the kernels beside PyTorch, all element types, blocks and shapes of blocks; layers in sessions of
onnxruntime, several callers at once; speed beside cuBLAS; speed in sessions. A step that fails is written down and the
next one goes on; what the time does not allow is counted. FILE is written anew after each step. `--write-docs` writes
its tables into docs/gpu-block-sparse.md. Ends with 1 where a step failed or a number is wrong.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from onnxprune.kernels import available, build, cuda_state, register

__all__ = ["look", "main", "pivot", "write_docs"]

DOCS = Path(__file__).resolve().parents[2] / "docs" / "gpu-block-sparse.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
TOLERANCE = {"float16": 1e-3, "bfloat16": 8e-3, "tf32": 1.5e-3, "float32": 2e-6}
SPEED_SHAPES = ((4096, 4096), (768, 3072), (3072, 768))
SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95)
ROWS = (16, 128, 1024, 8192)
SPEED_BLOCKS = ((16, 128), (16, 64))
CONV_SHAPES = ((64, 56), (128, 28), (256, 14), (512, 7))


class Clock:
    """Tells how much time is left."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self.left_out = 0

    def within(self, cells: Sequence[Any], share: float) -> Iterator[Any]:
        """Yields cells until a share of the time that is left is used; the others are counted."""
        end = time.monotonic() + share * (self._end - time.monotonic())
        for place, cell in enumerate(cells):
            if time.monotonic() > end:
                self.left_out += len(cells) - place
                return
            yield cell


def main(words: Sequence[str] | None = None) -> int:
    """Runs the steps; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--minutes", type=float, default=7.5)
    parser.add_argument("--only", nargs="*", choices=list(STEPS))
    parser.add_argument("--write-docs", type=Path)
    options = parser.parse_args(words)
    if options.write_docs:
        write_docs(json.loads(options.write_docs.read_text(encoding="utf-8")))
        return 0
    clock = Clock(60 * options.minutes)
    document: dict[str, Any] = {}
    for name, step in STEPS.items():
        if options.only and name not in options.only:
            continue
        start = time.monotonic()
        print(f"{name} …", file=sys.stderr, flush=True)
        try:
            document[name] = step(clock)
        except Exception as error:  # noqa: BLE001 - what else works is worth knowing
            document[name] = {"failed": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        document[name]["seconds"] = round(time.monotonic() - start, 1)
        document["left_out"] = clock.left_out
        told = {key: value for key, value in document[name].items() if key != "cells"}
        print(f"{name}: {json.dumps(told)[:2000]}", file=sys.stderr, flush=True)
        if options.json:
            made = options.json.with_suffix(".part")
            made.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
            made.replace(options.json)
    return 1 if any(isinstance(s, dict) and (s.get("failed") or s.get("wrong")) for s in document.values()) else 0


def look(clock: Clock | None = None) -> dict[str, Any]:
    """Tells what is here, and compiles the kernels."""
    import torch

    if not available():
        build()
    found = available()
    if found.library is None:
        raise RuntimeError(found.reason)
    answer: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(),
        "processors": torch.cuda.get_device_properties(0).multi_processor_count,
        "isa": found.isa,
        "cuda": asdict(cuda_state(found.library)),
    }
    try:
        import onnxruntime as ort

        ort.preload_dlls()
        answer |= {"onnxruntime": ort.__version__, "providers": ort.get_available_providers()}
    except Exception as error:  # noqa: BLE001 - the steps without onnxruntime go on
        answer["onnxruntime"] = f"{type(error).__name__}: {error}"
    return answer


def check_direct(clock: Clock) -> dict[str, Any]:
    """Compares the kernels beside PyTorch with float64, for each element, block, number of rows and shape of blocks."""
    import torch

    from tests.bench import cuda_direct as direct

    cells = []
    blocks = ((8, 32), (8, 64), (16, 64), (24, 96), (16, 128), (32, 128), (64, 256))
    for element, (block, width) in clock.within(list(itertools.product(direct.ELEMENTS, blocks)), 0.2):
        for sparsity in (0.4, 0.9):
            layer = direct.Layer.random(element, 1536, 768, block, width, sparsity)
            for rows in (1, 16, 77, 300, 2048):
                x = torch.randn((rows, 1536), device="cuda").to(direct.DTYPES[element])
                expected = direct.expected(layer, x)
                for shape, (m, n, _, _) in enumerate(direct.SHAPES):
                    if width % n:
                        continue
                    y = torch.full((rows, 768), float("nan"), device="cuda", dtype=direct.DTYPES[element])
                    layer.call(x, y, shape)()
                    torch.cuda.synchronize()
                    off = direct.off(y, expected)
                    cells.append([element, f"{block}x{width}", sparsity, rows, f"{m}x{n}", off])
    wrong = [cell for cell in cells if not cell[-1] <= TOLERANCE[cell[0]]]
    worst = {element: max((c[-1] for c in cells if c[0] == element), default=None) for element in direct.ELEMENTS}
    return {"compared": len(cells), "worst": worst, "wrong": wrong}


def check_sessions(clock: Clock) -> dict[str, Any]:
    """Compares layers in sessions with the float64 reference, and sees that the kernels ran on the device."""
    from block_sparse_cases import run_session
    from cuda_cases import CONVS, MATMULS, of_element

    cells, elsewhere = [], []
    for element, case in clock.within(list(itertools.product(TOLERANCE, [*MATMULS, *CONVS])), 0.3):
        chosen = of_element(case, element)
        arrays = chosen.arrays()
        session = _session(chosen, arrays, element, profiled=True)
        found, expected = run_session(session, arrays).astype(np.float64), chosen.expected(arrays)
        profile = Path(session.end_profiling())
        events = json.loads(profile.read_text(encoding="utf-8"))
        profile.unlink()
        where = {e["args"].get("provider") for e in events if "BlockSparse" in e.get("args", {}).get("op_name", "")}
        if where != {"CUDAExecutionProvider"}:
            elsewhere.append([repr(chosen), sorted(map(str, where))])
        off = float(np.abs(found - expected).max(initial=0.0) / max(1.0, float(np.abs(expected).max(initial=0.0))))
        cells.append([element, repr(case), off])
    wrong = [cell for cell in cells if not cell[-1] <= TOLERANCE[cell[0]]] + elsewhere
    worst = {element: max((c[-1] for c in cells if c[0] == element), default=None) for element in TOLERANCE}
    return {"compared": len(cells), "worst": worst, "wrong": wrong}


def check_callers(clock: Clock) -> dict[str, Any]:
    """Has four threads call one session with inputs of changing size."""
    from block_sparse_cases import ConvCase, run_session

    case = ConvCase(tiles=2, width=64, block=8, kept=4, inputs=61, image=(20, 20), dtype="float16")
    arrays = case.arrays()
    session = _session(case, arrays, "float16")
    wrong: list[str] = []

    def call(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(12):
            x = rng.standard_normal((int(rng.integers(1, 5)), 61, *rng.integers(3, 24, 2))).astype(np.float16)
            off = np.abs(run_session(session, {"x": x}) - case.expected(arrays | {"x": x})).max()
            if not off < 2e-2:
                wrong.append(f"seed {seed}: {off} off for {x.shape}")

    callers = [threading.Thread(target=call, args=(seed,)) for seed in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return {"wrong": wrong}


def speed_direct(clock: Clock) -> dict[str, Any]:
    """Times the kernels beside cuBLAS, all shapes of blocks: what the library would take, and the fastest."""
    import torch

    from tests.bench import cuda_direct as direct

    torch.backends.cuda.matmul.allow_tf32 = True
    cells = []
    grid = [
        (element, shape, block, sparsity)
        for element, shape, block, sparsity in itertools.product(
            ("float16", "bfloat16", "tf32"), SPEED_SHAPES, SPEED_BLOCKS, SPARSITIES
        )
        if element == "float16" or (shape == SPEED_SHAPES[0] and block == SPEED_BLOCKS[0])
    ]
    for element, (inputs, outputs), (block, width), sparsity in clock.within(grid, 0.5):
        layer = direct.Layer.random(element, inputs, outputs, block, width, sparsity)
        for rows in ROWS:
            x = torch.randn((rows, inputs), device="cuda").to(direct.DTYPES[element])
            y = torch.empty((rows, outputs), device="cuda", dtype=direct.DTYPES[element])
            shapes = [place for place, (_, n, _, _) in enumerate(direct.SHAPES) if width % n == 0]
            calls = [direct.dense_call(layer, x, y), *(layer.call(x, y, place) for place in shapes)]
            dense, *times = (direct.median(series) for series in direct.graph_times(calls, rounds=5))
            by_shape = {"{}x{}".format(*direct.SHAPES[place][:2]): t for place, t in zip(shapes, times, strict=True)}
            taken = "{}x{}".format(*direct.SHAPES[layer.chosen(rows)][:2])
            cells.append(
                {
                    "element": element,
                    "shape": f"{inputs}x{outputs}",
                    "block": f"{block}x{width}",
                    "sparsity": sparsity,
                    "rows": rows,
                    "dense_us": dense,
                    "taken": taken,
                    "ratio": dense / by_shape[taken],
                    "best": min(by_shape, key=lambda name: by_shape[name]),
                    "best_ratio": dense / min(by_shape.values()),
                    "us": by_shape,
                }
            )
    return {"cells": cells}


def speed_sessions(clock: Clock) -> dict[str, Any]:
    """Times layers in sessions of onnxruntime."""
    from tests.bench import block_sparse_cuda as sessions

    found = []
    matmuls = [
        (sessions.measure_matmul, element, shape, (16, 128), sparsity, ROWS, shape == SPEED_SHAPES[1])
        for element, shape, sparsity in itertools.product(
            ("float16", "bfloat16", "tf32"), SPEED_SHAPES[:2], (0.5, 0.7, 0.8, 0.9)
        )
    ]
    convs = [
        (sessions.measure_conv, "float16", shape, (16, 64), sparsity, (1, 32), False)
        for shape, sparsity in itertools.product(CONV_SHAPES, (0.5, 0.75, 0.875))
    ]
    order = [cell for pair in itertools.zip_longest(matmuls, convs) for cell in pair if cell is not None]
    for measure, element, shape, block, sparsity, rows, bodies in clock.within(order, 0.95):
        bodies = bodies and element != "bfloat16"
        found += measure(element, shape, block, sparsity, rows, seconds=0.1, bodies=bodies)
    wrong = [asdict(m) for m in found if not m.off <= sessions.TOLERANCE[m.element]]
    return {"cells": [asdict(m) for m in found], "wrong": wrong}


def _session(case: Any, arrays: dict[str, Any], element: str, *, profiled: bool = False) -> Any:
    import onnxruntime as ort
    from block_sparse_cases import model_of

    model = model_of(case, arrays)
    providers = [("CUDAExecutionProvider", {"use_tf32": str(int(element == "tf32"))}), "CPUExecutionProvider"]
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.enable_profiling = profiled
    options.profile_file_prefix = str(Path(tempfile.gettempdir()) / "onnxprune-profile")
    register(options, strict=True, providers=providers, model=model)
    return ort.InferenceSession(model.SerializeToString(), options, providers=providers)


STEPS: dict[str, Callable[[Clock], dict[str, Any]]] = {
    "environment": look,
    "numbers beside PyTorch": check_direct,
    "numbers in sessions": check_sessions,
    "callers": check_callers,
    "speed beside cuBLAS": speed_direct,
    "speed in sessions": speed_sessions,
}


def write_docs(document: dict[str, Any]) -> None:
    """Writes the tables of a session into the page about the kernels."""
    text = DOCS.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCS.write_text(f"{before}{BEGIN}\n{_tables(document)}\n{END}{after}", encoding="utf-8")


def _tables(document: dict[str, Any]) -> str:
    here = document["environment"]
    cuda = here["cuda"]
    lines = [
        f"{here['device']}, driver for CUDA {cuda['driver']}, NVRTC {cuda['nvrtc']}, PyTorch {here['torch']}, "
        f"onnxruntime {here.get('onnxruntime', 'none')}. Dense time over sparse time; above 1 is faster.",
    ]
    direct = document.get("speed beside cuBLAS", {}).get("cells", [])
    if direct:
        lines += ["", "Beside cuBLAS, kernels alone:", ""]
        lines += pivot(direct, ("element", "shape", "block", "rows"), "ratio")
    measured = document.get("speed in sessions", {}).get("cells", [])
    if measured:
        lines += ["", "In sessions of onnxruntime:", ""]
        lines += pivot(measured, ("family", "variant", "element", "shape", "block", "rows"), "ratio")
    return "\n".join(lines)


def pivot(cells: Sequence[dict[str, Any]], keys: tuple[str, ...], value: str) -> list[str]:
    """Returns a table with a column for each sparsity."""
    columns = sorted({cell["sparsity"] for cell in cells})
    lines = [
        f"| {' | '.join(keys)} | {' | '.join(f'{c:.1%}' for c in columns)} |",
        "|---" * (len(keys) + len(columns)) + "|",
    ]
    rows: dict[tuple[Any, ...], dict[float, float]] = {}
    for cell in cells:
        rows.setdefault(tuple(cell[key] for key in keys), {})[cell["sparsity"]] = cell[value]
    for key, found in rows.items():
        numbers = [f"{found[c]:.2f}" if c in found else "" for c in columns]
        lines.append(f"| {' | '.join(map(str, key))} | {' | '.join(numbers)} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
