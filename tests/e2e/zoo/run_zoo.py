"""Exports every architecture, prunes each file to half of its MACs, certifies, and prints a table.

    python tests/e2e/zoo/run_zoo.py FOLDER [--only NAME ...] [--approximate]
        [--results FILE [--resume]] [--markdown FILE]

Exported files stay in FOLDER and are used again; a failed export leaves its message there and
is not tried again. Each step runs in a process of its own, one after the other, under a time
limit. Needs torch, onnxscript, torchvision, timm and transformers beside onnxprune.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from architectures import ARCHITECTURES
from export import EXPORTERS
from table import table

__all__ = ["BUDGET", "run_one"]

BUDGET = 0.5
HERE = Path(__file__).resolve().parent
SHOWN = 300


def run_one(name: str, exporter: str, folder: Path, *, limit_s: float, approximate: bool = False) -> dict[str, Any]:
    """Returns the record of one architecture and exporter: what was measured, or where it failed and how."""
    record: dict[str, Any] = {"name": name, "exporter": exporter, "asked": BUDGET}
    path, failed = folder / f"{name}.{exporter}.onnx", folder / f"{name}.{exporter}.failed"
    if not path.exists() and not failed.exists():
        exported, text = _step([str(HERE / "export.py"), name, exporter, str(path)], limit_s)
        if not exported:
            failed.write_text(text, encoding="utf-8")
    if failed.exists():
        return record | {"step": "export", "failure": f"export: {failed.read_text(encoding='utf-8')}"}
    words = [str(HERE / "measure.py"), str(path), "--flops", str(BUDGET)]
    measured, text = _step([*words, *(["--approximate"] if approximate else [])], limit_s)
    if measured and not approximate and not json.loads(text)["groups"]:
        approximate = True  # nothing can go exactly
        measured, text = _step([*words, "--approximate"], limit_s)
    if not measured:
        return record | {"step": "measure", "failure": text}
    return record | {"approximate": approximate} | json.loads(text)


def _step(words: list[str], limit_s: float) -> tuple[bool, str]:
    """Runs a script; returns whether it succeeded, and the last line it printed or of what went wrong."""
    places = [str(HERE.parents[2]), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, places)), "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [sys.executable, *words], capture_output=True, text=True, timeout=limit_s, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        return False, f"did not finish within {limit_s:.0f} s"
    lines = (done.stdout if done.returncode == 0 else _error(done.stderr)).strip().splitlines()
    return done.returncode == 0, lines[-1] if lines else f"exit code {done.returncode}"


def _error(text: str) -> str:
    """Returns the line of a traceback that names the error: the last that is not indented."""
    lines = [line for line in text.splitlines() if line and not line[0].isspace() and ": " in line]
    return lines[-1][:SHOWN] if lines else text[-SHOWN:]


def main(words: Sequence[str] | None = None) -> int:
    """Runs the zoo; returns how many files were exported but could not be pruned and certified."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds the exported files")
    parser.add_argument("--only", nargs="+", choices=ARCHITECTURES, default=list(ARCHITECTURES), metavar="NAME")
    parser.add_argument("--exporters", nargs="+", choices=EXPORTERS, default=list(EXPORTERS))
    parser.add_argument("--approximate", action="store_true", help="as in onnxprune compress")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds for each export and each measurement")
    parser.add_argument("--results", type=Path, help="where one JSON object per file goes")
    parser.add_argument("--resume", action="store_true", help="keep what is in the results file already")
    parser.add_argument("--markdown", type=Path, help="where the table goes")
    options = parser.parse_args(words)
    options.folder.mkdir(parents=True, exist_ok=True)
    records = _run(options)
    text = table(records)
    print(text)
    if options.markdown is not None:
        options.markdown.write_text(_page(text, options.approximate), encoding="utf-8")
    return sum(record.get("step") == "measure" for record in records)


def _run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Returns the records of all that was asked for; writes them as they come."""
    results: Path | None = options.results
    known: dict[tuple[str, str], dict[str, Any]] = {}
    if options.resume and results is not None and results.exists():
        found = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
        known = {(record["name"], record["exporter"]): record for record in found}
    keys = list(itertools.product(options.only, options.exporters))
    for key in keys:
        if key not in known:
            known[key] = run_one(*key, options.folder, limit_s=options.limit, approximate=options.approximate)
        print(*key, known[key].get("failure", "certified"), file=sys.stderr, flush=True)
        if results is not None:
            results.write_text("".join(json.dumps(record) + "\n" for record in known.values()), encoding="utf-8")
    return [known[key] for key in keys]


def _page(text: str, approximate: bool) -> str:
    option = " --approximate" if approximate else ""
    return (
        "# Architectures\n\n"
        "Written by `python tests/e2e/zoo/run_zoo.py FOLDER"
        f"{option} --markdown docs/architectures{'-approximate' if approximate else ''}.md`.\n\n"
        f"Each file is pruned to {BUDGET:.0%} of its MACs, and once more by keeping a random 60 % of every group at "
        "once. The certificate is the larger of the two plans' largest deviations between the masked original and the "
        "pruned model, relative to the largest magnitude of an output, at batch sizes 1 and 3 and at a second size of "
        "every dynamic dimension; 1e-4 is allowed. MACs are recounted on the pruned graph.\n\n" + text
    )


if __name__ == "__main__":
    sys.exit(min(main(), 1))
