"""How much of the MACs saved by pruning shows as time on a device, over nets, precisions and batch sizes.

    python -m tests.bench.gpu_latency FOLDER [--provider cuda] [--nets resnet50,mobilenetv2,vit,bert]
        [--budgets flops=0.5,latency=0.6] [--precisions tf32,fp32,fp16] [--batches 1,32] [--json OUT] [--markdown OUT]
    python -m tests.bench.gpu_latency FOLDER --provider cpu --tiny     # the same on small nets, without a device

Each net has random weights. It is cut to each budget by `onnxprune.compress` on the provider, without training, and
stays in FOLDER. Original and slim model are then timed turn by turn, inputs and outputs on the device: "tf32" is what
onnxruntime does in float32 on devices that have it, "fp32" the same with NVIDIA_TF32_OVERRIDE=0, which libraries read
when they start, so that each precision has a process of its own; "fp16" are both models as onnxruntime's converter
writes them. A latency budget was met in float32 at batch 1; other rows show how it carries over.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import onnxprune
from onnxprune.core.errors import OnnxPruneError
from onnxprune.runtime import LatencyOptions, ModelSource, environment, float16_form, measure

sys.path.insert(0, str(Path(__file__).resolve().parent))

from gpu_nets import NETS, make_net

__all__ = ["main", "table"]

PRECISIONS = ("tf32", "fp32", "fp16")
_QUICK = {"repeats": 5, "warmup_s": 0.01, "min_time_s": 0.05, "settle_time_s": 0.2}


@dataclass(frozen=True)
class _Cut:
    """A net cut to a budget: its files, and the share of MACs that is left."""

    net: str
    budget: str
    original: Path
    slim: Path
    macs: float


def cut(folder: Path, net: str, budget: str, provider: str, *, tiny: bool) -> _Cut:
    """Returns the net cut to a budget; files that are there are not made again."""
    resource, _, value = budget.partition("=")
    stem = f"{net}{'.tiny' if tiny else ''}"
    original, slim = folder / f"{stem}.onnx", folder / f"{stem}.{resource}{value}.onnx"
    facts = slim.with_suffix(".json")
    if not original.exists():
        onnx.save(make_net(net, tiny=tiny), original)
    if not facts.exists():
        found = onnxprune.compress(original, out=slim, provider=provider, dense_forms="off", **{resource: value})
        facts.write_text(
            json.dumps({"macs": found.report["after"]["macs"] / found.report["before"]["macs"]}), encoding="utf-8"
        )
    return _Cut(net, budget, original, slim, json.loads(facts.read_text(encoding="utf-8"))["macs"])


def timed(pair: _Cut, precision: str, batch: int, provider: str, *, quick: bool) -> dict[str, Any]:
    """Returns the row of one net under one condition, in this process."""
    row: dict[str, Any] = {"net": pair.net, "budget": pair.budget, "precision": precision, "batch": batch}
    row["macs_ratio"] = pair.macs
    feeds = _feeds_of(onnx.load(pair.original, load_external_data=False), batch)
    models: dict[str, ModelSource] = {"original": pair.original, "slim": pair.slim}
    if precision == "fp16":
        forms = {n: float16_form(Path(str(m)), feeds, choice="all", provider=provider) for n, m in models.items()}
        reasons = [form.reason for form in forms.values() if form.reason]
        if reasons:
            return {**row, "missing": reasons[0]}
        models = {name: form.model for name, form in forms.items() if form.model is not None}
    options = LatencyOptions(provider=provider, batch=batch, resident=provider != "cpu", **_QUICK if quick else {})
    try:
        found = measure(models, feeds, options)
    except OnnxPruneError as error:
        return {**row, "missing": str(error)}
    ratio = found.ratios["slim"]
    return {
        **row,
        "original_us": found.latencies["original"].p50_us,
        "slim_us": found.latencies["slim"].p50_us,
        "ratio": ratio.value,
        "ratio_low": ratio.low,
        "ratio_high": ratio.high,
        "spread": found.latencies["original"].spread,
        "stands": found.stands,
        "notes": list(found.notes),
    }


def _feeds_of(net: onnx.ModelProto, batch: int) -> dict[str, np.ndarray]:
    rng, feeds = np.random.default_rng(0), {}
    for value in net.graph.input:
        shape = [batch, *(dim.dim_value for dim in value.type.tensor_type.shape.dim[1:])]
        if value.type.tensor_type.elem_type == onnx.TensorProto.INT64:
            feeds[value.name] = rng.integers(0, 100, shape)
        else:
            feeds[value.name] = rng.standard_normal(shape).astype(np.float32)
    return feeds


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Returns the rows as a table."""
    lines = [
        "| net | budget | precision | batch | MACs left | time left (95 % interval) | original | slim |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        head = f"| {row['net']} | {row['budget']} | {row['precision']} | {row['batch']} | {row['macs_ratio']:.3f} |"
        if "missing" in row:
            lines.append(f"{head} not measured: {row['missing']} | | |")
            continue
        interval = f"{row['ratio']:.3f} ({row['ratio_low']:.3f}–{row['ratio_high']:.3f})"
        lines.append(f"{head} {interval} | {row['original_us'] / 1e3:.3f} ms | {row['slim_us'] / 1e3:.3f} ms |")
    return "\n".join(lines) + "\n"


def _in_process_of_its_own(options: argparse.Namespace, precision: str) -> list[dict[str, Any]]:
    """Returns the rows of one precision."""
    variables = {**os.environ, **({"NVIDIA_TF32_OVERRIDE": "0"} if precision == "fp32" else {})}
    command = [sys.executable, "-m", "tests.bench.gpu_latency", str(options.folder), "--only", precision]
    for name in ("provider", "nets", "budgets", "batches"):
        command += [f"--{name}", getattr(options, name)]
    command += ["--tiny"] if options.tiny else []
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, cwd=root, env=variables, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{precision}: exit code {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Cuts, times and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--provider", default="cuda")
    parser.add_argument("--nets", default=",".join(NETS))
    parser.add_argument("--budgets", default="flops=0.5,latency=0.6")
    parser.add_argument("--precisions", default=",".join(PRECISIONS))
    parser.add_argument("--batches", default="1,32")
    parser.add_argument("--tiny", action="store_true", help="small nets, timed for a moment: whether all of it works")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--only", choices=PRECISIONS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.folder = options.folder.resolve()
    options.folder.mkdir(parents=True, exist_ok=True)
    pairs = [
        cut(options.folder, net, budget, options.provider, tiny=options.tiny)
        for net in options.nets.split(",")
        for budget in options.budgets.split(",")
    ]
    if options.only is not None:
        for pair in pairs:
            for batch in map(int, options.batches.split(",")):
                print(json.dumps(timed(pair, options.only, batch, options.provider, quick=options.tiny)), flush=True)
        return 0
    rows = [row for precision in options.precisions.split(",") for row in _in_process_of_its_own(options, precision)]
    print(table(rows), end="")
    if options.markdown is not None:
        options.markdown.write_text(table(rows), encoding="utf-8")
    if options.json is not None:
        content = {"rows": rows, "environment": environment()}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
