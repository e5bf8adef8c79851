"""The call that trains a model as it is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from onnxprune.core.events import EventHandler, ignore_events

if TYPE_CHECKING:
    from onnxprune.calls.types import DataLike, ModelLike
    from onnxprune.core.result import Result
    from onnxprune.recipe.training import TrainingKeywords

__all__ = ["retrain"]


def retrain(
    slim: ModelLike,
    teacher: ModelLike | None = None,
    *,
    data: DataLike,
    eval_data: DataLike | None = None,
    image_mean: float | Sequence[float] | None = None,
    image_std: float | Sequence[float] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    provider: str | None = None,
    threads: int | None = None,
    gates: str | Sequence[str] | None = None,
    seed: int | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    resume: bool | None = None,
    report: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    on_event: EventHandler | None = None,
    **training: Unpack[TrainingKeywords],
) -> Result:
    """Returns a model trained from another, or from labels alone; nothing is pruned.

    Args:
        slim: The model to train: a path or a ModelProto.
        teacher: The model to learn from, with the same inputs and outputs; None where `data` has
            labels to learn from.
        data: Training data, as in `compress`.
        eval_data: Evaluation data, likewise.
        image_mean: As in `compress`.
        image_std: As in `compress`.
        epochs: Passes over the training data.
        batch_size: Samples per training step.
        lr: Peak learning rate.
        provider: "auto", "cpu" or "cuda": where the models are checked and timed.
        threads: Threads per onnxruntime session.
        gates: Bounds on what is measured.
        seed: Seed of everything random; the same seed gives the same bytes.
        run_dir: As in `compress`.
        resume: As in `compress`.
        report: Where report.json goes, with the same as HTML and Markdown beside it.
        out: Where the trained model goes; by default `<stem>.retrained.onnx` in the current folder.
        on_event: Called with progress (`onnxprune.core.events`).
        **training: Further options, as in `compress`.

    Raises:
        GateError: when a gate is not met; everything is written, and the Result is its `outcome`.
        OnnxPruneError: when the user can act on it.
    """
    from onnxprune import pipeline
    from onnxprune.recipe import Retraining

    options = {
        "slim": slim,
        "teacher": teacher,
        "data": data,
        "eval_data": eval_data,
        "image_mean": image_mean,
        "image_std": image_std,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "provider": provider,
        "threads": threads,
        "gates": gates,
        "seed": seed,
        "run_dir": run_dir,
        "resume": resume,
        "report": report,
        "out": out,
        **training,
    }
    return pipeline.retrain(Retraining.from_mapping(options), on_event or ignore_events)
