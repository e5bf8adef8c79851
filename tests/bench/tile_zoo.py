"""Tiles in every architecture of a folder: does the exported file compute what was planned, and what stays dense?

    python -m tests.bench.tile_zoo FOLDER RESULTS [--most-mb 60] [--only PART ...] [--limit-s 900] [--flops 0.5]
                                   [--form kernel]
    python -m tests.bench.tile_zoo FOLDER RESULTS --print

Each .onnx file of FOLDER goes through `onnxprune compress FILE --pattern tiles --flops 0.5 --block-sparse kernel`
without data, in a process of its own under a time limit, smaller files first. The certificate of a run shows in
onnxruntime that the original in another order of channels gives what it gave, and that the file with block-sparse
operators gives what the ordered original with empty tiles gives. Beyond that, the written file is run on new random
inputs with the library of kernels and without. Finished files have a record in RESULTS and are not run again; a failed
one is, once its record is removed. `--print` gives the table of docs/tiles_zoo.md. Seconds are wall time of the whole
command, its latency measurement included.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["examine", "main", "table"]

TOLERANCE = 1e-4
SHOWN = 300


def examine(path: Path, flops: float, form: str, out: Path) -> dict[str, Any]:
    """Returns what is recorded of one file, as JSON values.

    Args:
        path: The model.
        flops: Share of the MACs to keep.
        form: As `--block-sparse` takes it.
        out: Where the slim model goes.

    Raises:
        OnnxPruneError: when it cannot be cut, or a check fails.
    """
    import numpy as np

    import onnxprune
    from onnxprune.graph import load_model
    from onnxprune.runtime import compare, find_feeds, make_session, run, worst_rel

    start = time.monotonic()
    result = onnxprune.compress(path, pattern="tiles", flops=flops, block_sparse=form, out=out, threads=1)
    seconds = time.monotonic() - start
    report = result.report
    model = load_model(path)
    feeds = find_feeds(model, model.inputs(), rng=np.random.default_rng(1)).first
    outputs = [run(make_session(out, threads=1, kernels=kernels), feeds) for kernels in (True, False)]
    return {
        "seconds": round(seconds, 1),
        "certificate": report["certificate"]["max_rel"],
        "bodies": worst_rel(compare(*outputs)),
        "macs": report["after"]["macs"] / report["before"]["macs"],
        "bytes": report["after"]["file_bytes"] / report["before"]["file_bytes"],
        "latency": report["latency"]["ratio"],
        "forms": Counter(tile["form"] for tile in report["tiles"]),
        "dense": Counter(tile["reason"] for tile in report["tiles"] if tile["form"] == "dense"),
        "whole": [note for note in report["notes"] if "stay whole" in note],
    }


def main(words: Sequence[str] | None = None) -> int:
    """Examines what is missing, or prints the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--most-mb", type=float, default=60.0)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--limit-s", type=float, default=900.0)
    parser.add_argument("--flops", type=float, default=0.5)
    parser.add_argument("--form", default="kernel")
    parser.add_argument("--print", action="store_true")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    if options.one is not None:
        with tempfile.TemporaryDirectory() as scratch:
            found = examine(options.one, options.flops, options.form, Path(scratch) / "slim.onnx")
        print(json.dumps(found))
        return 0
    options.results.mkdir(parents=True, exist_ok=True)
    if not options.print:
        for path in _files(options):
            _examine_apart(path, options)
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(options.results.glob("*.json"))]
    print(table(records))
    return 1 if any(_outcome(record) == "FAILED" for record in records) else 0


def _files(options: argparse.Namespace) -> list[Path]:
    """Returns the files that have no record, the smallest first."""
    paths = sorted(options.folder.glob("*.onnx"), key=lambda path: (path.stat().st_size, path.name))
    wanted = [path for path in paths if not options.only or any(part in path.name for part in options.only)]
    small = [path for path in wanted if path.stat().st_size <= options.most_mb * 1e6]
    return [path for path in small if not (options.results / f"{path.stem}.json").exists()]


def _examine_apart(path: Path, options: argparse.Namespace) -> None:
    """Examines a file in a process of its own, and writes its record."""
    settings = ["--flops", str(options.flops), "--form", options.form]
    command = [sys.executable, "-m", "tests.bench.tile_zoo", str(options.folder), str(options.results), *settings]
    record: dict[str, Any] = {"file": path.name, "flops": options.flops, "form": options.form}
    try:
        done = subprocess.run(
            [*command, "--one", str(path)], capture_output=True, text=True, check=False, timeout=options.limit_s
        )
    except subprocess.TimeoutExpired:
        record["error"] = f"not done after {options.limit_s:g} seconds"
    else:
        if done.returncode:
            record["error"] = done.stderr.strip().splitlines()[-1][:SHOWN] if done.stderr.strip() else "no message"
        else:
            record |= json.loads(done.stdout.splitlines()[-1])
    place = options.results / f"{path.stem}.json"
    place.with_suffix(".part").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    place.with_suffix(".part").replace(place)
    print(json.dumps(record), file=sys.stderr, flush=True)


def _outcome(record: Mapping[str, Any]) -> str:
    """Returns "" where a file passed, what refused it, or "FAILED"."""
    if "error" in record:
        expected = re.search(r"(ModelError|BudgetError): (.*)", record["error"])
        return expected[2].partition(";")[0] if expected else "FAILED"
    return "" if max(record["certificate"], record["bodies"]) <= TOLERANCE else "FAILED"


def table(records: Sequence[Mapping[str, Any]]) -> str:
    """Returns the records as a table in Markdown."""
    lines = [
        "| file | layers cut | MACs kept | file size | certificate | with and without kernels | s | what stays |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for record in records:
        name, outcome = record["file"].removesuffix(".onnx"), _outcome(record)
        if "error" in record:
            said = f"FAILED: {record['error']}" if outcome == "FAILED" else outcome
            lines.append(f"| {name} | | | | | | | {said} |")
            continue
        cut = sum(count for form, count in record["forms"].items() if form != "dense")
        reasons = [f"{why} ({count})" for why, count in record["dense"].items()]
        reasons += [note.partition(": ")[2].rstrip(".") for note in record["whole"]]
        figures = [f"{record['macs']:.3f}", f"{record['bytes']:.2f}"]
        errors = [f"{record['certificate']:.1e}", f"{record['bodies']:.1e}"]
        cells = [name, str(cut), *figures, *errors, f"{record['seconds']:.0f}", "; ".join(reasons)]
        lines.append(f"| {' | '.join(cells)} |{' FAILED' if outcome else ''}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
