"""Allocators side by side: accuracy at equal budgets and equal training, and how long each takes to decide.

    python tests/bench/allocator_table.py FOLDER MODEL... --data train.npz --eval-data test.npz
        [--budgets 0.5,0.4,0.25] [--seeds 0 1 2] [--methods uniform,dsa] [--epochs 4] [--part I/N] [-- OPTION...]
    python tests/bench/allocator_table.py FOLDER --print

Every method trains for `--epochs` in all: `dsa` and `dsa carry` search for one of them and retrain for the
others; the rest decide on scores and retrain for all. `netadapt` gets its short trainings on top.

"Torch-Pruning" is the global pruner of that library on the PyTorch source of a glyphs47 net, trained
as in `torch_pruning_glyphs.py` at its learning rate of 0.05. It needs `--shared`, torch-pruning and
safetensors, best in an environment of their own that also has what onnxprune needs.

Time to decide is that from the start of `compress` to the allocation, imports aside. Processes that share a
machine slow each other down; methods of a cell run one after the other, so compare within a row. Finished runs
stay in FOLDER and are not made again; `--part i/n` takes every n-th cell, for several processes.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from result_cache import ResultCache, percent
from table_cli import markdown, parse_table, part_of, table_parser

SEARCHES = {"dsa": "--allocator dsa --search-epochs 1", "dsa carry": "--allocator dsa --search-epochs 1 --search-carry"}
METHODS = {
    "uniform": "--allocator uniform",
    "global magnitude": "--allocator global --criterion magnitude",
    "global taylor": "--allocator global --criterion taylor",
    "global fisher": "--allocator global --criterion fisher",
    "greedy": "--allocator greedy",
    "knapsack": "--allocator knapsack",
    "isomorphic": "--allocator isomorphic",
    "netadapt": "--allocator netadapt",
    **SEARCHES,
}
RIVAL = "Torch-Pruning"
ALLOCATION = "allocate_budget"
KIND = "allocator"
PREFIX = "glyphs47_"


@dataclass(frozen=True)
class Cell:
    """One run.

    Attributes:
        model: Name of the model.
        budget: Of MACs.
        method: One of `METHODS`, or `RIVAL`.
        epochs: Of training in all.
        seed: Of everything random.
        options: Of every call, shell words.
    """

    model: str
    budget: str
    method: str
    epochs: int
    seed: int
    options: str

    @property
    def key(self) -> dict[str, Any]:
        """The setting."""
        return {"what": KIND, **asdict(self)}


class Bench:
    """Makes runs, and prints what there is.

    Args:
        cache: Keeps finished runs.
        data: Training data.
        eval_data: Test data.
        shared: Folder with models/torch, or None.
    """

    def __init__(self, cache: ResultCache, data: Path, eval_data: Path, shared: Path | None) -> None:
        self.cache, self.data, self.eval_data, self.shared = cache, data, eval_data, shared

    def make(self, cell: Cell, model: Path) -> None:
        """Makes a run where it is not there yet; says when it failed."""
        work: Callable[[], Mapping[str, Any]]
        work = (lambda: self._theirs(cell)) if cell.method == RIVAL else (lambda: self._ours(cell, model))
        try:
            self.cache.get(cell.key, work)
        except subprocess.CalledProcessError as error:
            said = " ".join((error.stderr or "").strip().splitlines()[-3:])
            print(f"{shlex.join(error.cmd)}\n    exit code {error.returncode}: {said}", file=sys.stderr, flush=True)

    def _ours(self, cell: Cell, model: Path) -> dict[str, Any]:
        where = self.cache.place(cell.key)
        epochs = cell.epochs - (cell.method in SEARCHES)
        words = ["compress", str(model), "-o", f"{where}.slim.onnx", "--flops", cell.budget, "--data", str(self.data)]
        words += ["--eval-data", str(self.eval_data), "--epochs", str(epochs), "--seed", str(cell.seed), "--quiet"]
        command = [sys.executable, "-m", "onnxprune", *words, *shlex.split(cell.options)]
        command += shlex.split(METHODS[cell.method])
        shutil.rmtree(f"{where}.slim.run", ignore_errors=True)  # of a run that was stopped
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        report = json.loads(Path(f"{where}.slim.report.json").read_text(encoding="utf-8"))
        names = [step["name"] for step in report["passes"]]
        until = [step["seconds"] for step in report["passes"][: names.index(ALLOCATION) + 1]]
        found = report["evaluation"]
        return {
            "before": found["before"]["top1"],
            "after": found["after"]["top1"],
            "macs": report["after"]["macs"] / report["before"]["macs"],
            "decided_seconds": sum(until),
            "training_seconds": report["training"]["seconds"],
            "whole_seconds": sum(step["seconds"] for step in report["passes"]),
        }

    def _theirs(self, cell: Cell) -> dict[str, Any]:
        from glyph_nets import Images, accuracy, load_net, logits, macs, reestimate
        from torch_pruning_glyphs import Training
        from torch_pruning_variants import Pruner, Variant

        if self.shared is None:
            raise SystemExit(f"{RIVAL} starts from PyTorch source. Give --shared.")
        net = load_net(self.shared, cell.model.removeprefix(PREFIX))
        train, test = Images.load(self.data), Images.load(self.eval_data)
        whole, before, targets = macs(net), accuracy(net, test), logits(net, train)
        cut = Pruner(net, float(cell.budget) * whole, train).cut(Variant())
        if cut is None:
            raise SystemExit(f"{cell}: no ratio reaches the target.")
        reestimate(cut, train, cell.seed)
        Training(0.05, cell.epochs, cell.seed, labels=True).run(cut, train, targets)
        return {"before": before, "after": accuracy(cut, test), "macs": macs(cut) / whole}

    def text(self) -> str:
        """Returns two tables of finished runs: accuracy and time, a row per model, budget and length of training."""
        cells: dict[tuple[str, float, int], dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
        for run in self.cache.all(KIND):
            cells[run["model"], float(run["budget"]), run["epochs"]][run["method"]].append(run)
        methods = [name for name in (*METHODS, RIVAL) if any(name in row for row in cells.values())]
        head = ["model", "MACs", "epochs", "original", *methods]
        rows = [
            [
                model,
                f"{budget:g}",
                str(epochs),
                percent([_one(row)["before"]]),
                *(_shares(row[name]) for name in methods),
            ]
            for (model, budget, epochs), row in sorted(cells.items(), key=_order)
        ]
        timed = [name for name in methods if name != RIVAL]
        times = [
            [model, f"{budget:g}", str(epochs), *(_seconds(row[name]) for name in timed)]
            for (model, budget, epochs), row in sorted(cells.items(), key=_order)
        ]
        seconds = ["model", "MACs", "epochs", *(f"{name}, s" for name in timed)]
        return f"{markdown(head, rows)}\n\n{markdown(seconds, times)}"


def _one(row: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    return next(run for runs in row.values() for run in runs)


def _shares(runs: Sequence[Mapping[str, Any]]) -> str:
    return percent([run["after"] for run in runs])


def _seconds(runs: Sequence[Mapping[str, Any]]) -> str:
    """Returns the time to decide and that of the whole run, medians."""
    if not runs:
        return ""
    decided, whole = (statistics.median(run[name] for run in runs) for name in ("decided_seconds", "whole_seconds"))
    return f"{decided:.0f} of {whole:.0f}"


def _order(item: tuple[tuple[str, float, int], Any]) -> tuple[str, float, int]:
    model, budget, epochs = item[0]
    return model, -budget, epochs


def main(words: list[str]) -> int:
    """Makes what is missing, and prints the tables."""
    options = parse(words)
    cache = ResultCache(options.folder)
    if not options.print:
        bench = Bench(cache, options.data, options.eval_data, options.shared)
        groups = [
            (model, budget, seed) for budget in options.budgets.split(",") for seed in options.seeds
            for model in options.models
        ]  # fmt: skip
        for model, budget, seed in part_of(groups, options.part):
            for method in options.methods.split(","):
                common = shlex.join(options.options)
                bench.make(Cell(model.stem, budget, method, options.epochs, seed, common), model)
    print(Bench(cache, Path(), Path(), None).text())
    return 0


def parse(words: list[str]) -> argparse.Namespace:
    """Returns the options; `options` are those behind `--`."""
    parser = table_parser(__doc__)
    parser.add_argument("--budgets", default="0.5,0.4,0.25")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--shared", type=Path, help=f"folder with models/torch, for {RIVAL}")
    return parse_table(parser, words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
