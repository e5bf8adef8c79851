"""Prints what recovery without training makes of several models: accuracy by method.

    python tests/bench/recovery_table.py TRAIN TEST MODEL... -- SHARE...

For each MODEL and each SHARE of its multiply-accumulates it prunes the model once, as `compress` does by
default, recovers it with each method alone and with all of them from 1,024 samples of TRAIN, and prints
one row with the accuracy on TEST and the seconds of the recovery. Images are brought to (x - 0.5) / 0.25.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from table_cli import split_words

from onnxprune.core.budget import Budget
from onnxprune.core.run import run_passes
from onnxprune.core.stage import Bench
from onnxprune.graph import Model
from onnxprune.passes.allocate_budget import AllocateBudget
from onnxprune.passes.find_groups import FindGroups
from onnxprune.passes.find_shapes import FindShapes
from onnxprune.passes.fold_constants import FoldConstants
from onnxprune.passes.import_model import ImportModel
from onnxprune.passes.open_data import OpenData
from onnxprune.passes.prune_channels import PruneChannels
from onnxprune.passes.recover_outputs import RecoverOutputs
from onnxprune.passes.score_channels import ScoreChannels
from onnxprune.recover import METHODS, Method, RecoverOptions, RecoveryRecord
from onnxprune.runtime import make_session, run
from onnxprune.train.bench import take_samples
from onnxprune.train.samples import Samples

COLUMNS: dict[str, tuple[Method, ...]] = {
    "moments": ("moments",),
    "bias correction": ("bias",),
    "least squares": ("least_squares",),
    "all": METHODS,
}
HEAD = ("model", "MACs", "original", "pruned", *COLUMNS, "seconds, all", "stages kept")


def pruned(model: Path, train: Path, test: Path, share: float) -> Bench:
    """Returns a run up to the pruned model."""
    bench = Bench()
    run_passes(
        [
            ImportModel(model),
            OpenData(train, test, (0.5,), (0.25,)),
            FoldConstants(),
            FindShapes(),
            FindGroups(),
            ScoreChannels(),
            AllocateBudget((Budget("flops", share),), "global", "auto"),
            PruneChannels(),
        ],
        bench,
    )
    return bench


def accuracy(model: Model, data: Samples) -> float:
    """Returns the share of samples whose label has the highest score."""
    session, hits = make_session(model.to_proto()), 0
    for batch in data.batches(512):
        assert batch.labels is not None
        (scores,) = run(session, batch.inputs).values()
        hits += int((scores.argmax(1) == batch.labels).sum())
    return hits / len(data)


def row(model: Path, train: Path, test: Path, share: float) -> str:
    """Returns one row of the table."""
    bench = pruned(model, train, test, share)
    evaluation, slim = take_samples(bench, "eval_data"), bench.take("slim", Model)
    cells = [model.stem, f"{share:.0%}"]
    cells += [f"{accuracy(bench.take('model', Model), evaluation):.2%}", f"{accuracy(slim, evaluation):.2%}"]
    seconds, kept = 0.0, ""
    for methods in COLUMNS.values():
        bench.artifacts["slim"] = slim
        begun = time.process_time()
        run_passes([RecoverOutputs(RecoverOptions(methods=methods))], bench)
        seconds = time.process_time() - begun
        kept = ", ".join(s.method for s in bench.take("recovery", RecoveryRecord).stages if s.kept)
        cells.append(f"{accuracy(bench.take('slim', Model), evaluation):.2%}")
    return " | ".join(["", *cells, f"{seconds:.1f}", kept, ""]).strip()


def main(words: list[str]) -> None:
    """Prints the table."""
    paths, shares = split_words(words)
    train, test, *models = map(Path, paths)
    print(f"| {' | '.join(HEAD)} |\n{'|---' * len(HEAD)}|")
    for model in models:
        for share in shares:
            print(row(model, train, test, float(share)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
