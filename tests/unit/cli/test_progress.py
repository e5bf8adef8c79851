"""Events become lines on stderr where there is no terminal, and nothing with --quiet."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from onnxprune.cli.progress import describe_training, show_progress
from onnxprune.core.events import Event, Note, PassFinished, PassStarted, TrainProgress


def _step(epoch: int, step: int, metric: float | None = None) -> TrainProgress:
    return TrainProgress(epoch, 2, step, 4, loss=0.5 / step, lr=0.01, metric=metric, seconds_left=65.0)


RUN: list[Event] = [
    PassStarted("find_groups"),
    Note("The model has no BatchNorm."),
    PassFinished("find_groups", 0.1),
    PassStarted("retrain"),
    _step(1, 1),
    _step(1, 2),
    _step(2, 3, 0.75),
    _step(2, 4, 0.8),
    _step(2, 4, 0.8),  # the end is told a second time, with what was measured after it
    PassFinished("retrain", 1.0),
]


def test_description_holds_epoch_loss_rate_accuracy_and_time_left() -> None:
    assert describe_training(_step(1, 2, 0.861)) == "epoch 1/2, loss 0.2500, lr 0.01, accuracy 86.10%, 1:05 left"


def test_last_step_has_no_time_left() -> None:
    assert describe_training(_step(2, 4)) == "epoch 2/2, loss 0.1250, lr 0.01"


def test_without_terminal_one_line_per_epoch_and_note(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress(quiet=False) as on_event:
        for event in RUN:
            on_event(event)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "note: The model has no BatchNorm.",
        "epoch 1/2, loss 0.2500, lr 0.01, 1:05 left",
        "epoch 2/2, loss 0.1250, lr 0.01, accuracy 80.00%",
    ]


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress(quiet=True) as on_event:
        for event in RUN:
            on_event(event)
    assert capsys.readouterr() == ("", "")


def test_terminal_gets_bars_on_stderr_and_they_go_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = io.StringIO()
    screen.isatty = lambda: True  # type: ignore[method-assign]  # a terminal that can be read back
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(
        "onnxprune.cli.progress.Console", lambda stderr: Console(file=screen, force_terminal=True, width=120)
    )
    with show_progress(quiet=False) as on_event:
        for event in RUN[:-1]:
            on_event(event)
    shown = screen.getvalue()
    assert "note: The model has no BatchNorm." in shown
    assert "retrain" in shown
    assert "epoch 2/2, loss 0.1250" in shown
    assert shown.rstrip("\r\n").endswith("\x1b[2K")  # the live lines are erased
    assert capsys.readouterr().out == ""
