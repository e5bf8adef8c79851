"""Exports every architecture, prunes and certifies each file, checks its PyTorch module, and prints tables.

    python tests/e2e/zoo/run_zoo.py FOLDER [--only NAME ...] [--steps prune bridge] [--approximate]
        [--results FILE [--resume | --render]] [--markdown FILE] [--bridge-markdown FILE]

Pruning is to half of the MACs (measure.py), the module is what the bridge makes (bridge_check.py).

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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from architectures import ARCHITECTURES
from bridge_table import bridge_page, is_sound
from export import EXPORTERS
from table import table

__all__ = ["BUDGET", "run_one"]

BUDGET = 0.5
STEPS = ("prune", "bridge")
HERE = Path(__file__).resolve().parent
SHOWN = 300


def run_one(
    name: str,
    exporter: str,
    folder: Path,
    *,
    limit_s: float,
    steps: Sequence[str] = STEPS,
    approximate: bool = False,
    known: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns the record of one architecture and exporter: what was measured, or where it failed and how.

    Args:
        name: The architecture.
        exporter: Which exporter writes its file.
        folder: Where exported files lie.
        limit_s: Seconds that each step may take.
        steps: What to do with the file: "prune", "bridge".
        approximate: As in onnxprune compress.
        known: A record from before, whose steps are not done again.
    """
    record: dict[str, Any] = {"name": name, "exporter": exporter, "asked": BUDGET, **(known or {})}
    path, failed = folder / f"{name}.{exporter}.onnx", folder / f"{name}.{exporter}.failed"
    wanted = [step for step in steps if step not in _done(record)]
    if wanted and not path.exists() and not failed.exists():
        exported, text = _step([str(HERE / "export.py"), name, exporter, str(path)], limit_s)
        if not exported:
            failed.write_text(text, encoding="utf-8")
    if wanted and failed.exists():
        return record | {"step": "export", "failure": f"export: {failed.read_text(encoding='utf-8')}"}
    if "prune" in wanted:
        record |= _pruned(path, limit_s, approximate)
    if "bridge" in wanted:
        checked, text = _step([str(HERE / "bridge_check.py"), str(path)], limit_s)
        record["bridge"] = json.loads(text) if checked else {"failure": text}
    return record


def _done(record: Mapping[str, Any]) -> set[str]:
    """Returns the steps whose outcome a record holds; a failed export is the outcome of all."""
    if record.get("step") == "export":
        return set(STEPS)
    pruned = {"prune"} if "nodes" in record or record.get("step") == "measure" else set()
    return pruned | ({"bridge"} if "bridge" in record else set())


def _pruned(path: Path, limit_s: float, approximate: bool) -> dict[str, Any]:
    words = [str(HERE / "measure.py"), str(path), "--flops", str(BUDGET)]
    measured, text = _step([*words, *(["--approximate"] if approximate else [])], limit_s)
    if measured and not approximate and not json.loads(text)["groups"]:
        approximate = True  # nothing can go exactly
        measured, text = _step([*words, "--approximate"], limit_s)
    return {"approximate": approximate} | json.loads(text) if measured else {"step": "measure", "failure": text}


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
    """Runs the zoo; returns how many exported files could not be pruned and certified, or make no sound module."""
    options = _options(words)
    options.folder.mkdir(parents=True, exist_ok=True)
    records = _run(options)
    failures = 0
    if "prune" in options.steps:
        _show(_page(table(records), options.approximate), options.markdown)
        failures += sum(record.get("step") == "measure" for record in records)
    if "bridge" in options.steps:
        _show(bridge_page(records), options.bridge_markdown)
        failures += sum(not is_sound(record["bridge"]) for record in records if "bridge" in record)
    return failures


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds the exported files")
    parser.add_argument("--only", nargs="+", choices=ARCHITECTURES, default=list(ARCHITECTURES), metavar="NAME")
    parser.add_argument("--exporters", nargs="+", choices=EXPORTERS, default=list(EXPORTERS))
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS), help="what to do with each file")
    parser.add_argument("--approximate", action="store_true", help="as in onnxprune compress")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds for each export and each measurement")
    parser.add_argument("--results", type=Path, help="where one JSON object per file goes")
    parser.add_argument("--resume", action="store_true", help="keep what is in the results file already")
    parser.add_argument("--render", action="store_true", help="run nothing, show what is in the results file")
    parser.add_argument("--markdown", type=Path, help="where the table of pruning goes")
    parser.add_argument("--bridge-markdown", type=Path, help="where the table of PyTorch modules goes")
    return parser.parse_args(words)


def _run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Returns the records of all that was asked for; writes them as they come."""
    results: Path | None = options.results
    known: dict[tuple[str, str], dict[str, Any]] = {}
    if (options.resume or options.render) and results is not None and results.exists():
        found = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
        known = {(record["name"], record["exporter"]): record for record in found}
    keys = list(itertools.product(options.only, options.exporters))
    if options.render:
        return [known.get(key, {"name": key[0], "exporter": key[1]}) for key in keys]
    for key in keys:
        known[key] = run_one(
            *key,
            options.folder,
            limit_s=options.limit,
            steps=options.steps,
            approximate=options.approximate,
            known=known.get(key),
        )
        print(*key, known[key].get("failure", "done"), file=sys.stderr, flush=True)
        if results is not None:
            results.write_text("".join(json.dumps(record) + "\n" for record in known.values()), encoding="utf-8")
    return [known[key] for key in keys]


def _show(page: str, path: Path | None) -> None:
    print(page)
    if path is not None:
        path.write_text(page, encoding="utf-8")


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
