"""Events of a run as progress bars on stderr.

Bars need a terminal. Elsewhere a run leaves one line per epoch and per note, so that a log
file shows where it stood; with --quiet it leaves nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from onnxprune.core.events import (
    Event,
    EventHandler,
    Note,
    PassFinished,
    PassStarted,
    SearchProgress,
    TrainProgress,
    ignore_events,
)

__all__ = ["describe_search", "describe_training", "show_progress"]


@contextmanager
def show_progress(*, quiet: bool) -> Iterator[EventHandler]:
    """Yields the handler that shows a run's events while the block lasts.

    Args:
        quiet: Show nothing.
    """
    if quiet:
        yield ignore_events
    elif not sys.stderr.isatty():
        lines = _Lines()
        try:
            yield lines
        finally:
            lines.finish()
    else:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            yield _Bars(progress)


def describe_training(event: TrainProgress) -> str:
    """Returns where training stands, in one line: phase, epoch, loss, rate, score, time left."""
    parts = [f"phase {event.phase}/{event.phases}"] if event.phases > 1 else []
    parts += [f"epoch {event.epoch}/{event.epochs}", f"loss {event.loss:.4f}", f"lr {event.lr:.2g}"]
    if event.metric is not None:
        share = event.metric_name in ("accuracy", "agreement")
        parts.append(f"{event.metric_name} {event.metric:.2%}" if share else f"{event.metric_name} {event.metric:.4g}")
    if event.seconds_left is not None and event.step < event.steps:
        parts.append(_left(event.seconds_left))
    return ", ".join(parts)


def describe_search(event: SearchProgress) -> str:
    """Returns where the search for keep ratios stands, in one line: loss, cost, open masks, time left."""
    used = ", ".join(f"{resource} {share:.0%} of the budget" for resource, share in event.used.items())
    parts = [f"step {event.step}/{event.steps}", f"loss {event.loss:.4f}", used, f"undecided {event.undecided:.0%}"]
    return ", ".join([*parts, _left(event.seconds_left)] if event.step < event.steps else parts)


def _left(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} left"


@dataclass
class _Lines:
    """One line per finished epoch, per tenth of a search, and per note."""

    last: TrainProgress | None = None
    tenth: int = 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, Note):
            click.echo(f"note: {event.text}", err=True)
        elif isinstance(event, TrainProgress):
            if self.last is not None and event.epoch > self.last.epoch:
                self.finish()
            self.last = event
        elif isinstance(event, SearchProgress):
            tenth = 10 * event.step // event.steps
            if tenth != self.tenth:
                click.echo(f"search: {describe_search(event)}", err=True)
            self.tenth = tenth
        elif isinstance(event, PassFinished):
            self.finish()  # the last event of an epoch knows its score

    def finish(self) -> None:
        """Prints where training stood, if that was not printed yet."""
        if self.last is not None:
            click.echo(describe_training(self.last), err=True)
            self.last = None


@dataclass
class _Bars:
    """A line for the pass under way, and a bar while training."""

    progress: Progress
    tasks: dict[str, TaskID] = field(default_factory=dict)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Note):
            self.progress.console.print(f"note: {event.text}", markup=False, highlight=False)
        elif isinstance(event, TrainProgress):
            task = self._start("retrain")
            self.progress.update(task, completed=event.step, total=event.steps, detail=describe_training(event))
        elif isinstance(event, SearchProgress):
            task = self._start("search")
            self.progress.update(task, completed=event.step, total=event.steps, detail=describe_search(event))
        elif isinstance(event, PassStarted):
            self._start(event.name)
        elif event.name in self.tasks:
            self.progress.remove_task(self.tasks.pop(event.name))

    def _start(self, name: str) -> TaskID:
        if name not in self.tasks:
            self.tasks[name] = self.progress.add_task(name.replace("_", " "), total=None, detail="")
        return self.tasks[name]
