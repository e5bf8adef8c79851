"""Prints what retraining gives back: before, at once, after some epochs with labels and without.

    python tests/bench/retrain_table.py FOLDER MODEL... --data train.npz --eval-data test.npz
        [--budgets 0.4,0.25] [--set 'NAME=OPTION...']... [--] [OPTION...]

Runs `onnxprune compress MODEL --flops BUDGET OPTION...` for every model, budget, set of options and
seed, three times: with `--epochs 0` (what is given back at once), with the labels of `--data`, and
with its other arrays only. Without `--set` there are two sets: the defaults, and `--no-batchnorm`,
which trains the folded network as it is.

    python tests/bench/retrain_table.py runs glyphs47_*.onnx --data glyphs/train.npz --eval-data glyphs/test.npz \\
        -- --image-mean 0.5 --image-std 0.25
    python tests/bench/retrain_table.py runs debsections_transformer.onnx --budgets 0.5 --data texts/train.npz \\
        --eval-data texts/test.npz --set 'exact=' --set 'approximate=--approximate'
    python tests/bench/retrain_table.py runs --print

Finished runs stay in FOLDER, and a run that is there is not made again: after an interruption the
same command goes on, `--print` shows the rows there are, and a change of the code asks for another
FOLDER. `--part i/n` takes every n-th run, for several processes. What fails is named at the end.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from result_cache import ResultCache, beside, percent
from table_cli import markdown, parse_table, part_of, table_parser

FOLDED = {"default": "", "folded (--no-batchnorm)": "--no-batchnorm"}
Column = Literal["at once", "labels", "inputs only"]
COLUMNS: tuple[Column, ...] = ("at once", "labels", "inputs only")


@dataclass(frozen=True)
class Run:
    """One call of `onnxprune compress`.

    Attributes:
        model: Path of the model.
        budget: Of MACs.
        column: What is trained on; nothing "at once".
        epochs: Of training.
        options: All further options, shell words.
        name: What the set of options is called.
        seed: Of everything random.
    """

    model: str
    budget: str
    column: Column
    epochs: int
    options: str
    name: str
    seed: int

    @property
    def key(self) -> dict[str, Any]:
        """The setting."""
        return {"what": "compress", **asdict(self), "model": Path(self.model).stem}


class Table:
    """Runs and prints.

    Args:
        folder: Keeps finished runs.
    """

    def __init__(self, folder: Path) -> None:
        self.cache = ResultCache(folder)
        self.failures: list[str] = []

    def make(self, run: Run, data: Path, eval_data: Path) -> None:
        """Makes a run where it is not there yet; remembers that it failed."""
        try:
            self.cache.get(run.key, lambda: self._compress(run, data, eval_data))
        except subprocess.CalledProcessError as error:
            said = (error.stderr or "").strip().splitlines()
            self.failures.append(f"{shlex.join(error.cmd)}\n    exit code {error.returncode}: {' '.join(said[-3:])}")
            print(self.failures[-1], file=sys.stderr, flush=True)

    def _compress(self, run: Run, data: Path, eval_data: Path) -> dict[str, Any]:
        if run.column == "inputs only":
            data = self.unlabelled(data)
        where = self.cache.place(run.key)
        words = ["compress", run.model, "-o", f"{where}.slim.onnx", "--flops", run.budget, "--data", str(data)]
        words += ["--eval-data", str(eval_data), "--epochs", str(run.epochs), "--seed", str(run.seed), "--quiet"]
        command = [sys.executable, "-m", "onnxprune", *words, *shlex.split(run.options)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        report = json.loads(Path(f"{where}.slim.report.json").read_text(encoding="utf-8"))
        found, training = report["evaluation"], report["training"]
        return {
            "before": found["before"]["top1"],
            "after": found["after"]["top1"],
            "macs": report["after"]["macs"] / report["before"]["macs"],
            "params": report["after"]["params"] / report["before"]["params"],
            "training_seconds": training["seconds"] if training else None,
            "command": report["command"],
        }

    def unlabelled(self, data: Path) -> Path:
        """Returns the same data without `labels`."""
        path = self.cache.folder / f"{data.parent.name}-{data.stem}-inputs-only.npz"
        if not path.exists():
            with np.load(data) as archive, beside(path) as part, part.open("wb") as file:
                np.savez(file, **{name: archive[name] for name in archive.files if name != "labels"})
        return path

    def text(self) -> str:
        """Returns the table of all finished runs, one row per model, budget and set of options."""
        rows: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
        for found in self.cache.all("compress"):
            rows[found["model"], found["budget"], found["name"]].append(found)
        epochs = sorted({run["epochs"] for runs in rows.values() for run in runs if run["epochs"]})
        lengths = [f"{count} epoch{'s' * (count > 1)}" for count in epochs]
        trained = [f"{length}, {column}" for length in lengths for column in COLUMNS[1:]]
        head = ["model", "budget", "options", "MACs, %", "before", "at once", *trained, "training, s"]
        lines = [[*name, *self._cells(runs, epochs)] for name, runs in sorted(rows.items(), key=_order)]
        return markdown(head, lines)

    @staticmethod
    def _cells(runs: list[dict[str, Any]], epochs: list[int]) -> Iterator[str]:
        def of(what: str, count: int, column: Column) -> list[float | None]:
            return [run[what] for run in runs if run["column"] == column and run["epochs"] == count]

        yield f"{100 * runs[0]['macs']:.1f}"
        yield percent([runs[0]["before"]])
        yield percent(of("after", 0, "at once"))
        for count in epochs:
            for column in COLUMNS[1:]:
                yield percent(of("after", count, column))
        spent = [run["training_seconds"] for run in runs if run["training_seconds"]]
        yield f"{min(spent):.0f}–{max(spent):.0f}" if spent else ""


def _order(item: tuple[tuple[str, str, str], Any]) -> tuple[str, float, str]:
    (model, budget, name), _ = item
    return model, -float(budget) if budget.replace(".", "", 1).isdecimal() else 0.0, name


def planned(options: argparse.Namespace) -> list[Run]:
    """Returns every run in order: all of one model and budget together, the quick ones first."""
    sets = dict(text.split("=", 1) for text in options.set) if options.set else FOLDED
    common = shlex.join(options.options)
    return [
        Run(str(model), budget, column, 0 if column == "at once" else epochs, f"{common} {extra}".strip(), name, seed)
        for model in options.models
        for budget in options.budgets.split(",")
        for name, extra in sets.items()
        for epochs in options.epochs
        for column in options.columns
        for seed in options.seeds
    ]


def main(words: list[str]) -> int:
    """Runs what is missing, prints the table; returns 1 where a run failed."""
    options = parse(words)
    table = Table(options.folder)
    if not options.print:
        if any("labels" not in column for column in options.columns):
            table.unlabelled(options.data)
        for run in part_of(planned(options), options.part):
            table.make(run, options.data, options.eval_data)
    print(table.text())
    if table.failures:
        print("\nFailed:", *table.failures, sep="\n  ", file=sys.stderr)
    return 1 if table.failures else 0


def parse(words: list[str]) -> argparse.Namespace:
    """Returns the options; `options` are those behind `--`."""
    parser = table_parser(__doc__)
    parser.add_argument("--budgets", default="0.4,0.25")
    parser.add_argument("--epochs", type=int, nargs="+", default=[3])
    parser.add_argument("--columns", nargs="+", choices=COLUMNS, default=list(COLUMNS))
    parser.add_argument("--set", action="append", default=[], metavar="NAME=OPTIONS", help="may be repeated")
    return parse_table(parser, words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
