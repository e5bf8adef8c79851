"""Prints how well a latency budget is met, and what it costs in accuracy beside a budget of MACs of equal latency.

    python tests/bench/latency_budget_table.py FOLDER MODEL... [--budgets 0.7,0.5]
        [--data train.npz --eval-data test.npz] [--epochs 3] [--tries 6] [--parts cuts,training] [-- OPTION...]

For every model and budget, with OPTION on every call:

1. `onnxprune compress MODEL --latency BUDGET --epochs 0`, then `onnxprune validate MODEL SLIM --json` in a fresh
   process: the share of the original's time that SLIM takes there.
2. With data, `onnxprune compress MODEL --flops SHARE --epochs 0` for shares that close in on the one whose model
   takes the same share of the time, each measured in a fresh process. The closest one stays.
3. `onnxprune retrain SLIM --teacher MODEL` for both, and the accuracy on the evaluation data.

The first two must have the machine to themselves (`--parts cuts`), the last need not (`--parts training`).
Finished runs stay in FOLDER and are not made again.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from result_cache import ResultCache, percent
from table_cli import split_words

CLOSE = 0.02
LIMIT = 1.0


def call(*words: str) -> str:
    """Returns what `onnxprune WORDS` prints on stdout."""
    command = [sys.executable, "-m", "onnxprune", *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{shlex.join(command)}\n    exit code {done.returncode}: {done.stderr.strip()[-400:]}")
    return done.stdout


@dataclass(frozen=True)
class Bench:
    """Where runs lie, and what they are made of.

    Attributes:
        cache: Finished runs.
        data: Training data, or None.
        eval_data: Evaluation data, or None.
        epochs: Of retraining.
        tries: Budgets of MACs to try.
        options: For every call of `compress`; those of data also for `retrain`.
    """

    cache: ResultCache
    data: Path | None
    eval_data: Path | None
    epochs: int
    tries: int
    options: tuple[str, ...]

    def _key(self, model: Path, resource: str, budget: float) -> dict[str, Any]:
        options = shlex.join(self.options)
        return {"what": "cut", "model": model.stem, "resource": resource, "budget": budget, "options": options}

    def found(self, model: Path, resource: str, budget: float) -> dict[str, Any] | None:
        """Returns what `cut` gave before, or None."""
        return self.cache.find(self._key(model, resource, budget))

    def cut(self, model: Path, resource: str, budget: float) -> dict[str, Any]:
        """Returns the untrained cut to a budget, and its share of time in a fresh process."""
        key = self._key(model, resource, budget)

        def work() -> Mapping[str, Any]:
            slim = f"{self.cache.place(key)}.slim.onnx"
            words = ["compress", str(model), "-o", slim, f"--{resource}", str(budget), "--epochs", "0", "--json"]
            words += ["--data", str(self.data)] if self.data else []
            report = json.loads(call(*words, *self.options))
            fresh = json.loads(call("validate", str(model), slim, "--json"))["latency"]
            return {
                "slim": slim,
                "share": fresh["ratio"],
                "interval": [fresh["ratio_low"], fresh["ratio_high"]],
                "macs": report["after"]["macs"] / report["before"]["macs"],
                "notes": [note for note in report["notes"] if "atency" in note],
            }

        return self.cache.get(key, work)

    def as_fast(self, model: Path, share: float, start: float, *, make: bool) -> dict[str, Any] | None:
        """Returns the cut to a budget of MACs whose share of time is nearest to `share`.

        Args:
            model: What is cut.
            share: Of its time.
            start: The first budget to try.
            make: Whether cuts may be made; otherwise those that are there have to do.
        """
        tried: list[dict[str, Any]] = []
        budget = start
        while len(tried) < self.tries:
            cut = self.cut(model, "flops", round(budget, 4)) if make else self.found(model, "flops", round(budget, 4))
            if cut is None:
                break
            tried.append(cut)
            if abs(tried[-1]["share"] / share - 1) <= CLOSE:
                break
            slow = [t["budget"] for t in tried if t["share"] > share]
            fast = [t["budget"] for t in tried if t["share"] <= share]
            if slow and fast:
                budget = (min(slow) + max(fast)) / 2
            else:
                budget = min(LIMIT, tried[-1]["budget"] * share / tried[-1]["share"])
            if any(t["budget"] == round(budget, 4) for t in tried):
                break
        return min(tried, key=lambda t: abs(t["share"] - share), default=None)

    def accuracy(self, model: Path) -> float:
        """Returns that of an original on the evaluation data."""

        def work() -> Mapping[str, Any]:
            words = ["validate", str(model), str(model), "--data", str(self.eval_data), "--json", *self._images()]
            return {"top1": json.loads(call(*words))["evaluation"]["before"]["top1"]}

        return float(self.cache.get({"what": "original", "model": model.stem}, work)["top1"])

    def _images(self) -> list[str]:
        """Returns the options that say how images become numbers."""
        found = []
        for word, value in zip(self.options, (*self.options[1:], ""), strict=True):
            if word.startswith("--image"):
                found += [word] if "=" in word else [word, value]
        return found

    def trained(self, model: Path, cut: Mapping[str, Any]) -> dict[str, Any]:
        """Returns accuracies of a cut before and after retraining."""
        of = {name: cut[name] for name in ("model", "resource", "budget", "options")}
        key = {"what": "trained", "epochs": self.epochs, "of": of}

        def work() -> Mapping[str, Any]:
            out = f"{self.cache.place(key)}.onnx"
            words = ["retrain", cut["slim"], "--teacher", str(model), "-o", out, "--data", str(self.data)]
            words += ["--eval-data", str(self.eval_data), "--epochs", str(self.epochs), "--json"]
            found = json.loads(call(*words, *self._images()))["evaluation"]
            # what `retrain` is given is the pruned model; the original is its teacher
            return {"before": self.accuracy(model), "after": found["after"]["top1"]}

        return self.cache.get(key, work)


HEAD = ("model", "budget", "time", "MACs", "by MACs: time", "MACs", "original", "by latency", "by MACs")


def row(bench: Bench, model: Path, budget: float, parts: Sequence[str]) -> list[str]:
    """Returns a row of the table, what is missing empty; makes what `parts` ask for."""
    met = bench.cut(model, "latency", budget) if "cuts" in parts else bench.found(model, "latency", budget)
    if met is None:
        return []
    cells = [model.stem, f"{budget:g}", f"{met['share']:.3f}", f"{met['macs']:.1%}"]
    if bench.data is None:
        return [*cells, *[""] * (len(HEAD) - len(cells))]
    rival = bench.as_fast(model, met["share"], met["macs"], make="cuts" in parts)
    if rival is None:
        return [*cells, *[""] * (len(HEAD) - len(cells))]
    cells += [f"{rival['share']:.3f}", f"{rival['macs']:.1%}"]
    if "training" in parts:
        ours, theirs = bench.trained(model, met), bench.trained(model, rival)
        cells += [percent([ours["before"]]), percent([ours["after"]]), percent([theirs["after"]])]
    return [*cells, *[""] * (len(HEAD) - len(cells))]


def main(words: Sequence[str]) -> None:
    """Makes what is missing, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--budgets", default="0.7,0.5")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--eval-data", type=Path)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--tries", type=int, default=6, help="budgets of MACs to try")
    parser.add_argument("--parts", default="cuts,training", help="what to make, besides the table")
    before, options = split_words(words)
    known = parser.parse_args(before)
    bench = Bench(ResultCache(known.folder), known.data, known.eval_data, known.epochs, known.tries, tuple(options))
    print(f"| {' | '.join(HEAD)} |\n{'|---' * len(HEAD)}|")
    for model in known.models:
        for budget in known.budgets.split(","):
            cells = row(bench, model, float(budget), known.parts.split(","))
            if cells:
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
