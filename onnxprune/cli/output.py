"""Results on stdout: tables for people, JSON for machines."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click
from rich.console import Console, RenderableType

if TYPE_CHECKING:
    from onnxprune.report.schema import Curve, Report

__all__ = ["show", "show_curve", "show_report"]

_PIPE_WIDTH = 120


def show(result: RenderableType) -> None:
    """Prints `result` on stdout: in colour on a terminal, as plain text of a fixed width into a pipe."""
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    Console(width=width, highlight=False, markup=False, emoji=False).print(result)


def show_curve(curve: Curve, *, as_json: bool) -> None:
    """Prints a curve on stdout.

    Args:
        curve: The points.
        as_json: As JSON instead of a table.
    """
    from onnxprune.report.terminal import curve_table

    if as_json:
        click.echo(curve.to_json(), nl=False)
    else:
        show(curve_table(curve))


def show_report(report: Report, *, as_json: bool, verbose: int) -> None:
    """Prints `report` on stdout.

    Args:
        report: The report.
        as_json: As the content of report.json instead of tables.
        verbose: With 1 and more, long lists in full.
    """
    from onnxprune.report.terminal import render

    if as_json:
        click.echo(report.to_json(), nl=False)
    else:
        show(render(report, verbose=verbose > 0))
