"""Compares learning-rate schedules of retraining: same slim model, same data, only the schedule differs.

    python tests/bench/schedule_table.py FOLDER --model glyphs47_resnet20.onnx --data FOLDER_OF_NPZ [--part i/n]
    python tests/bench/schedule_table.py FOLDER --print

The model is pruned to `--flops`, recovered and given its normalisation once, by the passes that
`onnxprune compress` takes, on a fixed random subset of train.npz. Then, with the subset:

1. LLR runs for `--sweep-epochs` with each peak of `--lrs` and each seed; validation images choose η_max for all.
2. Every schedule runs for each length and seed from the same slim model. The last epoch counts.

A table gives mean ± standard deviation over seeds, on val.npz and test.npz. Finished runs stay in FOLDER as
JSON, so an interrupted table goes on with the same command; `--part i/n` takes every n-th run of
step 2, for several processes, once step 1 is done (with `--part 0/n`, only step 1 runs). Use another
FOLDER after a change of the code.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from result_cache import ResultCache, beside, percent
from table_cli import finished_parser, markdown, part_of

from onnxprune.bridge import OnnxModule, predict, reestimate, to_torch, write_back
from onnxprune.core.run import run_passes
from onnxprune.core.stage import Bench
from onnxprune.graph import Model, load_model
from onnxprune.passes.fold_batchnorm import FoldBatchnorm
from onnxprune.passes.import_model import ImportModel
from onnxprune.passes.measure_cut import Cut
from onnxprune.passes.retrain import CALIBRATION_SAMPLES, Retrain
from onnxprune.pipeline import compressing
from onnxprune.recipe import Recipe
from onnxprune.train import Samples, TrainOptions, loop, open_data
from onnxprune.train.feeding import Fed
from onnxprune.train.losses import Outputs
from onnxprune.train.schedules import FIXED, adaptive_scale

EVALUATED_AT_ONCE = 256
ORIGINAL_EPOCHS = 100.0


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        what: "sweep" or "schedule".
        schedule: Name of the schedule.
        epochs: Its length.
        lr: η_max.
        seed: Decides the order of samples.
    """

    what: str
    schedule: str
    epochs: int
    lr: float
    seed: int


class Start:
    """What all trainings start from: the slim model and the original.

    Args:
        options: The command line's.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.folder = options, options.folder
        self.slim_path, self.facts_path = self.folder / "slim.onnx", self.folder / "slim.json"
        self.train_path = self.folder / "train.npz"

    @cached_property
    def original(self) -> Model:
        """The original."""
        return load_model(Path(self.options.model))

    @cached_property
    def teacher(self) -> OnnxModule:
        """The original as a module."""
        return to_torch(self.original)

    @cached_property
    def slim(self) -> Model:
        """The slim model before training, made where it is not there yet."""
        if not self.facts_path.exists():
            self._prune()
        return load_model(self.slim_path)

    @cached_property
    def facts(self) -> dict[str, float]:
        """MACs and norms before and after the cut."""
        _ = self.slim
        facts: dict[str, float] = json.loads(self.facts_path.read_text(encoding="utf-8"))
        return facts

    def samples(self, part: str) -> Samples:
        """Returns the subset for "train", or all of "val" or "test"."""
        path = self._subset() if part == "train" else Path(self.options.data) / f"{part}.npz"
        return open_data(
            path,
            self.original.inputs(),
            image_mean=self.options.image_mean,
            image_std=self.options.image_std,
            outputs=self.original.outputs(),
        )

    def _subset(self) -> Path:
        if not self.train_path.exists():
            with np.load(Path(self.options.data) / "train.npz") as archive:
                arrays = {name: archive[name] for name in archive.files}
            count = len(next(iter(arrays.values())))
            rows = np.sort(np.random.default_rng(self.options.subset_seed).permutation(count)[: self.options.images])
            with beside(self.train_path) as part, part.open("wb") as file:
                np.savez(file, **{name: array[rows] for name, array in arrays.items()})
        return self.train_path

    def _prune(self) -> None:
        """Runs the passes of `compress` from the model to the brink of training."""
        recipe = Recipe(
            model=Path(self.options.model),
            out=self.slim_path,
            flops=self.options.flops,
            data=str(self._subset()),
            image_mean=self.options.image_mean,
            image_std=self.options.image_std,
        )
        (phase,) = recipe.turns
        bench = Bench()
        before = [ImportModel(recipe.model), *compressing._analyse(recipe), *compressing._decide(recipe, phase, {})]
        after = [each for each in compressing._retrain(recipe, phase) if not isinstance(each, Retrain | FoldBatchnorm)]
        run_passes([*before, *after], bench, [])
        slim, cut = bench.take("slim", Model).copy(), bench.take("cut", Cut)
        student = to_torch(slim)
        calibration = self.samples("train").calibration(CALIBRATION_SAMPLES, np.random.default_rng(0))
        reestimate(student, [batch.inputs for batch in calibration])
        write_back(student, slim)
        with beside(self.slim_path) as part:
            part.write_bytes(slim.to_proto().SerializeToString())
        facts = {"norm_before": cut.norm_before, "norm_after": cut.norm_after, "removed_share": cut.removed_share}
        with beside(self.facts_path) as part:
            part.write_text(json.dumps(facts), encoding="utf-8")


class KnownOutputs:
    """Stands in for the loop's `TeacherOutputs`: the original answers once, not once per training."""

    stored: torch.Tensor

    def __init__(self, *_: object) -> None:
        """Takes what `TeacherOutputs` takes."""

    def prepare(self, *_: object) -> None:
        """Has nothing to do."""

    def __call__(self, fed: Fed, inputs: dict[str, torch.Tensor], fixed: int | None = None) -> Outputs:
        """Returns the outputs for a batch."""
        return Outputs((self.stored.index_select(0, fed.rows),))


class Trainings:
    """Runs trainings, one after the other in this process.

    Args:
        start: What they start from.
        cache: Keeps finished ones.
    """

    def __init__(self, start: Start, cache: ResultCache) -> None:
        self.start, self.cache = start, cache

    def get(self, job: Job) -> dict[str, Any]:
        """Returns accuracies of a training, run where it is not there yet."""
        return self.cache.get(vars(job), lambda: self._run(job))

    def peak(self) -> float:
        """Returns η_max: the peak with which LLR is best on validation images."""
        options = self.start.options

        def score(lr: float) -> float:
            jobs = [Job("sweep", "llr", options.sweep_epochs, lr, seed) for seed in options.seeds]
            return sum(float(self.get(job)["val"]) for job in jobs)

        return max(options.lrs, key=score)

    @cached_property
    def _sets(self) -> dict[str, Samples]:
        return {part: self.start.samples(part) for part in ("train", "val", "test")}

    @cached_property
    def _known(self) -> type[KnownOutputs]:
        """Answers of the original for the training samples, in the stored order."""
        (name,) = self.start.teacher.output_names
        batches = self._sets["train"].batches(EVALUATED_AT_ONCE)
        KnownOutputs.stored = torch.cat(
            [torch.from_numpy(predict(self.start.teacher, batch.inputs)[name]) for batch in batches]
        )
        return KnownOutputs

    def _run(self, job: Job) -> dict[str, Any]:
        facts, student = self.start.facts, to_torch(self.start.slim)
        scale = 1.0
        if job.schedule == "allr":
            norms = (facts["norm_before"], facts["norm_after"], facts["removed_share"])
            scale = adaptive_scale(*norms, epochs=job.epochs, original_epochs=ORIGINAL_EPOCHS)
        options = TrainOptions(
            epochs=job.epochs,
            schedule=job.schedule,  # type: ignore[arg-type]  # argparse checked it
            lr=job.lr,
            lr_scale=scale,
            original_epochs=ORIGINAL_EPOCHS,
            seed=job.seed,
            device="cpu",
        )
        with mock.patch.object(loop, "TeacherOutputs", self._known):
            record = loop.train(student, self.start.teacher, self._sets["train"], options)
        found = {part: accuracy(student, self._sets[part]) for part in ("val", "test")}
        return {**found, "loss": [epoch.loss for epoch in record.epochs], "scale": scale}


def accuracy(module: OnnxModule, data: Samples) -> float:
    """Returns the share of samples whose label has the highest score."""
    (name,) = module.output_names
    hits = 0
    for batch in data.batches(EVALUATED_AT_ONCE):
        hits += int((predict(module, batch.inputs)[name].argmax(1) == batch.labels).sum())
    return hits / len(data)


def text(cache: ResultCache) -> str:
    """Returns the table of all finished trainings."""
    by_lr: dict[float, list[float]] = defaultdict(list)
    for run in cache.all("sweep"):
        by_lr[run["lr"]].append(run["val"])
    tried = [f"{lr:g} → {percent(by_lr[lr])}" for lr in sorted(by_lr)]
    found: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for run in cache.all("schedule"):
        found[run["schedule"], run["epochs"]].append(run)
    lengths = sorted({epochs for _, epochs in found})
    head = ["schedule"]
    for epochs in lengths:
        unit = "epoch" if epochs == 1 else "epochs"
        head += [f"{epochs} {unit}, validation", f"{epochs} {unit}, test"]
    lines = []
    for name in (name for name in FIXED if any(name == schedule for schedule, _ in found)):
        runs = [found.get((name, epochs), []) for epochs in lengths]
        lines.append([name.upper(), *(percent(run[part] for run in each) for each in runs for part in ("val", "test"))])
    counts = sorted({len(runs) for runs in found.values()})
    peaks = sorted({run["lr"] for runs in found.values() for run in runs})
    told = f"LLR on validation by peak: {', '.join(tried)}. η_max: {peaks}. Seeds per cell: {counts}."
    return f"{markdown(head, lines)}\n\n{told}"


def main(words: list[str]) -> None:
    """Runs what is missing, prints the table."""
    options = parse(words)
    cache = ResultCache(options.folder)
    if not options.print:
        torch.set_num_threads(options.threads)
        trainings = Trainings(Start(options), cache)
        peak = trainings.peak()
        jobs = [
            Job("schedule", schedule, epochs, peak, seed)
            for epochs in sorted(options.epochs)
            for seed in options.seeds
            for schedule in options.schedules
        ]
        for job in part_of(jobs, options.part):
            trainings.get(job)
    print(text(cache))


def parse(words: list[str]) -> argparse.Namespace:
    """Returns the options."""
    parser = finished_parser(__doc__, "the slim model and finished trainings")
    parser.add_argument("--model", help="an .onnx with one output of class scores")
    parser.add_argument("--data", help="folder with train.npz, val.npz and test.npz")
    parser.add_argument("--flops", default="0.25")
    parser.add_argument("--image-mean", type=float, default=None)
    parser.add_argument("--image-std", type=float, default=None)
    parser.add_argument("--images", type=int, default=12_000, help="samples of train.npz that are used")
    parser.add_argument("--subset-seed", type=int, default=47)
    parser.add_argument("--schedules", nargs="+", choices=FIXED, default=list(FIXED))
    parser.add_argument("--epochs", type=int, nargs="+", default=[1, 3, 10])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--lrs", type=float, nargs="+", default=[0.01, 0.02, 0.05, 0.1])
    parser.add_argument("--sweep-epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(words)
    if not options.print and not (options.model and options.data):
        parser.error("give --model and --data, or --print")
    return options


if __name__ == "__main__":
    main(sys.argv[1:])
