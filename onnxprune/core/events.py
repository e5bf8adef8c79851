"""What a run tells while it is under way: progress for people, never results.

A run takes one `EventHandler` and calls it from the thread that works. Handlers must be quick. What
one raises ends the run, as Ctrl-C would, and reaches the caller: no model is written, and a run that
keeps its state (`run_dir`) goes on with `resume`.

    def show(event):
        match event:
            case PassStarted(name):
                print(name)
            case TrainProgress(epoch=epoch, epochs=epochs, loss=loss):
                print(f"epoch {epoch} of {epochs}: loss {loss:.3f}")
            case Note(text):
                print("note:", text)

    onnxprune.compress("net.onnx", flops=0.5, data="train.npz", on_event=show)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = [
    "Event",
    "EventHandler",
    "Note",
    "PassFinished",
    "PassStarted",
    "SearchProgress",
    "TrainProgress",
    "ignore_events",
]


@dataclass(frozen=True)
class PassStarted:
    """A pass begins.

    Attributes:
        name: Name of the pass, such as "find_groups".
    """

    name: str


@dataclass(frozen=True)
class PassFinished:
    """A pass is done.

    Attributes:
        name: Name of the pass.
        seconds: How long it took.
    """

    name: str
    seconds: float


@dataclass(frozen=True)
class TrainProgress:
    """Where retraining stands.

    Attributes:
        epoch: The epoch under way, counted from 1.
        epochs: How many there will be.
        step: Steps done in all.
        steps: How many there will be in all.
        loss: Recent mean of the training loss.
        lr: The learning rate of the last step.
        metric: Score on validation data, or None before the first evaluation; higher is better.
        seconds_left: Estimated time to the end of training, or None while unknown.
        metric_name: What `metric` measures: "accuracy" and "agreement" (with the original's
            choice) lie in [0, 1], "negative loss" and the user's metric need not.
        phase: Which round of pruning and training this is; 0 before the first.
        phases: How many rounds there are.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    lr: float
    metric: float | None
    seconds_left: float | None
    metric_name: str = "accuracy"
    phase: int = 1
    phases: int = 1


@dataclass(frozen=True)
class SearchProgress:
    """Where the search for keep ratios stands.

    Attributes:
        step: Steps done.
        steps: How many there will be.
        loss: Recent mean of the training loss under masks.
        used: Resource → share of its limit that the keep ratios use; it comes down to 1.
        undecided: 1 where every channel is as likely to stay as to go, 0 where all are settled.
        seconds_left: Estimated time to the end of the search.
    """

    step: int
    steps: int
    loss: float
    used: Mapping[str, float]
    undecided: float
    seconds_left: float


@dataclass(frozen=True)
class Note:
    """Something the user should know and need not act on.

    Attributes:
        text: One sentence.
    """

    text: str


Event = PassStarted | PassFinished | SearchProgress | TrainProgress | Note
EventHandler = Callable[[Event], None]


def ignore_events(event: Event) -> None:
    """Does nothing: the handler of runs that nobody watches."""
