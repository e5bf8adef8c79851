"""What was learned: keep ratios, and weights by recovery and retraining."""

from __future__ import annotations

from pydantic import Field

from onnxprune.report.parts.base import Figure, Record

__all__ = ["Epoch", "Recovery", "RecoveryStage", "Search", "SearchPoint", "Training"]


class Epoch(Record):
    """One epoch of retraining: mean loss, metric on validation data, last learning rate.

    `phase` is the round of pruning that it follows, 0 before the first.
    """

    epoch: int
    phase: int = 1
    loss: Figure = None
    metric: Figure = None
    lr: Figure = None
    seconds: Figure = None


class Training(Record):
    """Retraining; `metric_name` says what each epoch's metric is, `kept_epoch` whose weights were kept."""

    epochs: tuple[Epoch, ...] = ()
    kept_epoch: int | None = None
    stopped_early: bool = False
    metric_name: str = ""
    batch_size: int | None = None
    processes: int = 1
    precision: str = ""
    device: str = ""
    samples: int | None = None
    seconds: Figure = None


class RecoveryStage(Record):
    """One method of recovery over all layers; errors of the outputs on samples it was not fitted on."""

    method: str
    kept: bool
    error_before: Figure = None
    error_after: Figure = None
    layers_changed: int = 0
    seconds: Figure = None
    reason: str = ""


class Recovery(Record):
    """What was set right from calibration samples before any training."""

    samples: int
    held_out: int
    error_before: Figure = None
    error_after: Figure = None
    stages: tuple[RecoveryStage, ...] = ()
    skipped: dict[str, str] = Field(default_factory=dict)


class SearchPoint(Record):
    """Where a search stood: `used` is the share of each limit, `undecided` 1 where every channel is a coin."""

    step: int
    loss: Figure = None
    used: dict[str, Figure] = Field(default_factory=dict)
    undecided: Figure = None
    ratios: dict[str, Figure] = Field(default_factory=dict)


class Search(Record):
    """How the keep ratios of the groups were learned, before the last cut."""

    steps: int
    seconds: Figure = None
    points: tuple[SearchPoint, ...] = ()
