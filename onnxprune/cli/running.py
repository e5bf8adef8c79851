"""Running what a command asks for: progress meanwhile, the report at the end, also where a gate failed."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from onnxprune.cli.output import show_curve, show_report
from onnxprune.cli.progress import show_progress
from onnxprune.core.errors import GateError

if TYPE_CHECKING:
    from onnxprune.core.events import EventHandler
    from onnxprune.core.result import Result

__all__ = ["is_first_process", "run_and_show"]


def is_first_process() -> bool:
    """Returns whether this process speaks for all that `torchrun` started; true where it started none."""
    return os.environ.get("RANK", "0") in ("", "0")


def run_and_show(work: Callable[[EventHandler], Result], *, as_json: bool, quiet: bool, verbose: int) -> None:
    """Runs `work` and prints its report on stdout.

    Args:
        work: Takes the handler of progress.
        as_json: Print JSON instead of tables.
        quiet: Show no progress.
        verbose: With 1 and more, long lists in full.

    Raises:
        GateError: when a gate was not met; the report is printed first.
    """
    try:
        with show_progress(quiet=quiet or not is_first_process()) as on_event:
            result = work(on_event)
    except GateError as error:
        if error.outcome is not None:
            _show(error.outcome, as_json=as_json, verbose=verbose)
        raise
    if is_first_process():
        _show(result, as_json=as_json, verbose=verbose)


def _show(result: Any, *, as_json: bool, verbose: int) -> None:
    """Prints the report of a result, or its curve."""
    from onnxprune.report.schema import Curve, Report

    if getattr(result, "points", ()):
        show_curve(Curve.model_validate(result.report), as_json=as_json)
    else:
        show_report(Report.model_validate(result.report), as_json=as_json, verbose=verbose)
