"""What a training run leaves behind."""

from __future__ import annotations

from dataclasses import dataclass

from onnxprune.core.errors import Interrupted

__all__ = ["EpochRecord", "TrainRecord", "TrainingInterrupted"]


@dataclass(frozen=True)
class EpochRecord:
    """One finished epoch.

    Attributes:
        epoch: Counted from 1.
        loss: Mean training loss.
        metric: Score on validation data (see `TrainRecord.metric_name`), or None without any.
        lr: Learning rate of its last step.
        seconds: How long it took.
    """

    epoch: int
    loss: float
    metric: float | None
    lr: float
    seconds: float


@dataclass(frozen=True)
class TrainRecord:
    """A training run.

    Attributes:
        epochs: Every finished epoch.
        kept_epoch: The epoch whose weights the student holds; 0 where none was finished.
        metric_name: What `EpochRecord.metric` measures: "accuracy", "agreement" (with the
            teacher's choice) or "negative loss".
    """

    epochs: tuple[EpochRecord, ...]
    kept_epoch: int
    metric_name: str


class TrainingInterrupted(Interrupted):
    """The user stopped training; the student holds the weights of `record.kept_epoch`."""

    def __init__(self, record: TrainRecord) -> None:
        self.record = record
        done = len(record.epochs)
        kept = f"the weights of epoch {record.kept_epoch} are kept" if record.kept_epoch else "no weights were changed"
        super().__init__(f"Training was interrupted after {done} finished epoch{'' if done == 1 else 's'}; {kept}.")
