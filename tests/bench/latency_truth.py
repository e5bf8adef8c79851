"""Whether latency ratios are true: one model against itself, and against one with known extra work.

    python -m tests.bench.latency_truth [--runs 20] [--threads 1,2] [--load 0,2] [--json out.json]

A/A: the same file twice has the ratio 1. A/B: ten equal layers against thirteen have the ratio 1.3, apart from what
a run costs besides, which is measured as the time of no layer at all. For each: in how many runs the interval of
95 % holds the truth, how far the ratio is off, how wide the interval is. Load are processes that multiply matrices
meanwhile, without a pause. "plain" compares the median with that of a loop around `session.run`, over three models.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from onnxprune.runtime import LatencyOptions, environment, make_session, measure

_LAYERS, _MORE = 10, 13
_WIDTH, _ROWS = 192, 64


def chain(layers: int) -> onnx.ModelProto:
    """Returns a model of equal matrix products in a row."""
    nodes = [helper.make_node("MatMul", [f"x{i}", "w"], [f"x{i + 1}"]) for i in range(layers)]
    nodes.append(helper.make_node("Identity", [f"x{layers}"], ["y"]))
    weight = np.random.default_rng(0).standard_normal((_WIDTH, _WIDTH)).astype(np.float32) / _WIDTH
    value = helper.make_tensor_value_info("x0", onnx.TensorProto.FLOAT, [_ROWS, _WIDTH])
    result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [_ROWS, _WIDTH])
    graph = helper.make_graph(nodes, "chain", [value], [result], [numpy_helper.from_array(weight, "w")])
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def _burn() -> None:
    a = np.ones((256, 256), np.float32)
    while True:
        a = a @ a / 256


@contextmanager
def load(processes: int) -> Iterator[None]:
    """Keeps so many processes busy."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_burn, daemon=True) for _ in range(processes)]
    for worker in workers:
        worker.start()
    try:
        time.sleep(2.0 if workers else 0.0)
        yield
    finally:
        for worker in workers:
            worker.kill()
            worker.join()


def trial(runs: int, threads: int, processes: int) -> dict[str, Any]:
    """Returns how often the intervals held, and how far the ratios were off."""
    feeds = {"x0": np.ones((_ROWS, _WIDTH), np.float32)}
    models = {"none": chain(0), "a": chain(_LAYERS), "same": chain(_LAYERS), "more": chain(_MORE)}
    found: dict[str, list[tuple[float, float, float]]] = {"same": [], "more": []}
    excluded = 0
    with load(processes):
        for seed in range(runs):
            sessions = {name: make_session(model, threads=threads) for name, model in models.items()}
            options = LatencyOptions(threads=threads, seed=seed)
            # what a run costs besides its layers is the same in all
            empty = measure({"none": sessions["none"]}, feeds, options).latencies["none"].p50_us
            result = measure({name: sessions[name] for name in ("a", "same", "more")}, feeds, options)
            whole = result.latencies["a"].p50_us
            expected = 1 + (_MORE / _LAYERS - 1) * max(0.0, whole - empty) / whole
            for name, truth in (("same", 1.0), ("more", expected)):
                ratio = result.ratios[name]
                found[name].append((ratio.value / truth, ratio.low / truth, ratio.high / truth))
            excluded += result.ratios["more"].low > 1
    summary: dict[str, Any] = {"runs": runs, "threads": threads, "load": processes, "more_excludes_one": excluded}
    for name, ratios in found.items():
        values = [value for value, _, _ in ratios]
        summary[name] = {
            "held": sum(low <= 1 <= high for _, low, high in ratios),
            "error_median": statistics.median(abs(value - 1) for value in values),
            "error_most": max(abs(value - 1) for value in values),
            "width_median": statistics.median(high - low for _, low, high in ratios),
        }
    return summary


def plain(models: list[Path], threads: int) -> list[dict[str, Any]]:
    """Returns for each model our median and that of a plain loop, interleaved, in microseconds."""
    rows = []
    for path in models:
        session = make_session(path, threads=threads)
        feeds = {i.name: np.zeros([d if isinstance(d, int) else 1 for d in i.shape], np.float32)
                 for i in session.get_inputs()}  # fmt: skip
        ours, theirs = [], []
        for seed in range(5):
            ours.append(
                measure({"m": session}, feeds, LatencyOptions(threads=threads, seed=seed)).latencies["m"].p50_us
            )
            samples = []
            for _ in range(200):
                began = time.perf_counter()
                session.run(None, feeds)
                samples.append(1e6 * (time.perf_counter() - began))
            theirs.append(statistics.median(samples))
        rows.append({"model": path.name, "threads": threads, "ours_us": statistics.median(ours),
                     "loop_us": statistics.median(theirs)})  # fmt: skip
    return rows


def main() -> int:
    """Runs the trials and prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="*", help="for the comparison with a plain loop")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--load", default="0,2")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    trials, loops = [], []
    for threads in map(int, options.threads.split(",")):
        for processes in map(int, options.load.split(",")):
            trials.append(trial(options.runs, threads, processes))
            print(json.dumps(trials[-1]), flush=True)
        loops += plain(options.models, threads)
    for row in loops:
        print(json.dumps(row), flush=True)
    if options.json is not None:
        content = {"trials": trials, "loops": loops, "environment": environment()}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
