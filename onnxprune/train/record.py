"""What a training run leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
        seconds: How long it took, over all attempts of an interrupted run.
        phase: Which round of pruning it follows; 0 before the first.
    """

    epoch: int
    loss: float
    metric: float | None
    lr: float
    seconds: float
    phase: int = 1


@dataclass(frozen=True)
class TrainRecord:
    """A training run.

    Attributes:
        epochs: Every finished epoch.
        kept_epoch: The epoch whose weights the student holds; 0 where none was finished.
        metric_name: What `EpochRecord.metric` measures: "accuracy", "agreement" (with the
            teacher's choice), "negative loss", or the user's metric.
        stopped_early: Whether `TrainOptions.early_stop` ended it.
        batch_size: Samples per step, over all processes.
        processes: How many trained together.
        precision: "float32", "bf16" or "fp16": what matrix products were computed in.
        device: "cpu" or "cuda".
        notes: What the user should know.
    """

    epochs: tuple[EpochRecord, ...]
    kept_epoch: int
    metric_name: str
    stopped_early: bool = False
    batch_size: int = 0
    processes: int = 1
    precision: str = "float32"
    device: str = "cpu"
    notes: tuple[str, ...] = ()

    def followed_by(self, later: TrainRecord) -> TrainRecord:
        """Returns the record of this run and one that went on from it; its epochs are counted on."""
        before = len(self.epochs)
        counted = tuple(replace(record, epoch=before + record.epoch) for record in later.epochs)
        return replace(
            later,
            epochs=(*self.epochs, *counted),
            kept_epoch=before + later.kept_epoch if later.kept_epoch else self.kept_epoch,
            notes=tuple(dict.fromkeys((*self.notes, *later.notes))),
        )


class TrainingInterrupted(Interrupted):
    """The user stopped training; the student holds the weights of `record.kept_epoch`."""

    def __init__(self, record: TrainRecord) -> None:
        self.record = record
        done = len(record.epochs)
        kept = f"the weights of epoch {record.kept_epoch} are kept" if record.kept_epoch else "no weights were changed"
        super().__init__(f"Training was interrupted after {done} finished epoch{'' if done == 1 else 's'}; {kept}.")
