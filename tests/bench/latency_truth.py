"""Whether latency ratios are true: one model against itself, and against one with known extra work.

    python -m tests.bench.latency_truth [MODEL...] [--runs 20] [--threads 1,2] [--load 0,2] [--json J] [--markdown M]

A/A: the same file twice has the ratio 1. A/B: ten equal layers against thirteen have the ratio 1.3, apart from what
a run costs besides, which is measured as the time of no layer at all. For each: in how many runs the interval of
95 % holds the truth, how far the ratio is off, how wide the interval is. Load are processes that multiply matrices
meanwhile, without a pause; the load average at the beginning of each row says what else there was. For each MODEL,
medians and lower quartiles are held against those of a loop around `session.run`, in blocks that alternate in the same
sessions: what differs is the way of measuring, and not the moment. All of it takes about a quarter of an hour.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from onnxprune.runtime import LatencyOptions, environment, make_session, measure
from onnxprune.runtime.callers import copying_run
from onnxprune.runtime.timing import TurnLimits, take_turns, warm_up

_LAYERS, _MORE = 10, 13
_WIDTH, _ROWS = 192, 64
_SESSIONS, _BLOCKS, _BLOCK = 6, 20, 15


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
    models = {"a": chain(_LAYERS), "same": chain(_LAYERS), "more": chain(_MORE)}
    found: dict[str, list[tuple[float, float, float]]] = {"same": [], "more": []}
    excluded, stands, began, beside = 0, [], time.perf_counter(), os.getloadavg()[0]
    with load(processes):
        for seed in range(runs):
            options = LatencyOptions(threads=threads, seed=seed)
            # what a run costs besides its layers is the same in all
            short = replace(options, settle_time_s=0.5, min_time_s=0.3)
            empty = measure({"none": chain(0)}, feeds, short).latencies["none"].p50_us
            result = measure(models, feeds, options)
            stands.append(result.stands)
            whole = result.latencies["a"].p50_us
            expected = 1 + (_MORE / _LAYERS - 1) * max(0.0, whole - empty) / whole
            for name, truth in (("same", 1.0), ("more", expected)):
                ratio = result.ratios[name]
                found[name].append((ratio.value / truth, ratio.low / truth, ratio.high / truth))
            excluded += result.ratios["more"].low > 1
    summary: dict[str, Any] = {
        "runs": runs,
        "threads": threads,
        "load": processes,
        "load_average_before": round(beside, 2),
        "stands_median": statistics.median(stands),
        "seconds_per_run": (time.perf_counter() - began) / runs,
        "more_excludes_one": excluded,
    }
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
    """Returns for each model our times and those of a plain loop, of blocks that alternate, in microseconds."""
    rows = []
    for path in models:
        ours: list[float] = []
        theirs: list[float] = []
        for seed in range(_SESSIONS):
            session = make_session(path, threads=threads)
            feeds = {i.name: np.zeros([d if isinstance(d, int) else 1 for d in i.shape], np.float32)
                     for i in session.get_inputs()}  # fmt: skip
            call = copying_run(session, feeds)
            count = max(1, round(200e-6 / warm_up(call, 0.2)))
            for block in range(_BLOCKS):
                turns = TurnLimits(_BLOCK, 0.0, 0.0, 60.0)
                ours += take_turns({"m": call}, {"m": count}, turns, lambda _: True, seed + block)["m"].tolist()
                theirs += [_seconds(partial(session.run, None, feeds)) for _ in range(_BLOCK)]
        row: dict[str, Any] = {"model": path.name, "threads": threads, "runs": len(theirs)}
        for name, samples in (("ours", ours), ("loop", theirs)):
            row[f"{name}_p25_us"], row[f"{name}_p50_us"] = (1e6 * float(v) for v in np.percentile(samples, [25, 50]))
        rows.append(row)
    return rows


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def markdown(trials: list[dict[str, Any]], loops: list[dict[str, Any]]) -> str:
    """Returns both tables."""
    lines = [
        "| threads | busy processes beside | A/A: interval holds 1 | error, median and most | interval's width | "
        "A/B: holds 1.3 | A/B: leaves 1 out | width |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in trials:
        same, more, of = row["same"], row["more"], f"of {row['runs']}"
        lines.append(
            f"| {row['threads']} | {row['load']} | {same['held']} {of} | {same['error_median']:.1%}, "
            f"{same['error_most']:.1%} | {same['width_median']:.3f} | {more['held']} {of} | "
            f"{row['more_excludes_one']} {of} | {more['width_median']:.3f} |"
        )
    if loops:
        lines += [
            "",
            "| model | threads | median, ours | median, loop | ours/loop | lower quartile, ours | loop | ours/loop |",
            "|---|---|---|---|---|---|---|---|",
        ]
    for row in loops:
        middle, lower = ((row[f"ours_{q}_us"] / 1e3, row[f"loop_{q}_us"] / 1e3) for q in ("p50", "p25"))
        figures = " | ".join(f"{a:.3f} ms | {b:.3f} ms | {a / b:.3f}" for a, b in (middle, lower))
        lines.append(f"| {Path(row['model']).stem} | {row['threads']} | {figures} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Runs the trials and prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="*", help="for the comparison with a plain loop")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--load", default="0,2")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    trials, loops = [], []
    for threads in map(int, options.threads.split(",")):
        for processes in map(int, options.load.split(",")):
            trials.append(trial(options.runs, threads, processes))
            print(json.dumps(trials[-1]), flush=True)
        loops += plain(options.models, threads)
    if options.json is not None:
        content = {"trials": trials, "loops": loops, "environment": environment()}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(markdown(trials, loops), end="")
    if options.markdown is not None:
        options.markdown.write_text(markdown(trials, loops), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
