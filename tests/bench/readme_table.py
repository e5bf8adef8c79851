"""Prints the README's table: what `onnxprune compress` makes of several models, one after the other.

    python tests/bench/readme_table.py FOLDER MODEL... -- OPTION...

For each MODEL it runs `onnxprune compress MODEL -o FOLDER/<stem>.slim.onnx OPTION...`, prints
the command, and in the end one row per model from the reports. Give it the machine alone: the
latencies are measured while it runs.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from table_cli import split_words

HEAD = "| model | MACs | parameters | file | accuracy | latency, batch 1 (95 % interval) |"


def compress(model: Path, folder: Path, options: list[str]) -> dict[str, Any]:
    """Compresses `model`; returns its report."""
    out = folder / f"{model.stem}.slim.onnx"
    words = ["onnxprune", "compress", str(model), "-o", str(out), *options]
    print("$", shlex.join(words), file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", *words], check=True, stdout=subprocess.DEVNULL)
    report: dict[str, Any] = json.loads(out.with_suffix(".report.json").read_text(encoding="utf-8"))
    return report


def row(report: dict[str, Any]) -> str:
    """Returns one row of the table."""
    before, after, latency, found = (report[key] for key in ("before", "after", "latency", "evaluation"))
    accuracy = "" if found is None else f"{found['before']['top1']:.2%} → {found['after']['top1']:.2%}"
    ratio = f"×{latency['ratio']:.2f} ({latency['ratio_low']:.2f}–{latency['ratio_high']:.2f})"
    cells = [
        Path(report["model"]["file"]).stem,
        f"{before['macs'] / 1e6:.1f} M → {after['macs'] / before['macs']:.1%}",
        f"{before['params'] / 1e6:.3f} M → {after['params'] / before['params']:.1%}",
        f"{before['file_bytes'] / 1e6:.2f} MB → {after['file_bytes'] / before['file_bytes']:.1%}",
        accuracy,
        f"{latency['before']['p50_us'] / 1e3:.2f} ms → {latency['after']['p50_us'] / 1e3:.2f} ms, {ratio}",
    ]
    return f"| {' | '.join(cells)} |"


def main(words: list[str]) -> None:
    """Runs everything."""
    paths, options = split_words(words)
    folder, *models = map(Path, paths)
    folder.mkdir(parents=True, exist_ok=True)
    reports = [compress(model, folder, options) for model in models]
    print(HEAD + "\n" + "|---" * HEAD.count(" |") + "|")
    for report in reports:
        print(row(report))
    latency, environment = reports[0]["latency"], reports[0]["environment"]
    print(f"\n{latency['provider']}, {latency['threads']} threads; {json.dumps(environment)}")


if __name__ == "__main__":
    main(sys.argv[1:])
