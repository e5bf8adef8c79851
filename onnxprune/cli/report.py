"""`onnxprune report`: reports shown again, as tables or pages, and runs side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from onnxprune.cli.options import json_option
from onnxprune.cli.output import show, show_report
from onnxprune.core.errors import InputError, UsageError

if TYPE_CHECKING:
    from onnxprune.report.comparison import Compared, Run
    from onnxprune.report.schema import Report

__all__ = ["report"]

_SUFFIXES = (".html", ".md", ".xml")


@click.command(short_help="Show reports again, and compare runs.")
@click.argument("files", metavar="REPORT.JSON...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="OUT.HTML|.MD|.XML",
    help="Write a page, a text, or gates as JUnit XML instead of a table on stdout. May be repeated.",
)
@json_option
@click.option("-v", "--verbose", count=True, help="Long lists in full.")
def report(files: tuple[Path, ...], out: tuple[Path, ...], as_json: bool, verbose: int) -> None:
    """Shows what REPORT.JSON says, or holds several runs against each other.

    One report gives its run again; several, or the curve.json of a run with several budgets, give a comparison: what
    each run costs, how good it is, and which of them no other beats.

    \b
    onnxprune report slim.report.json
    onnxprune report slim.report.json -o slim.report.html
    onnxprune report slim.report.json -o gates.xml
    onnxprune report a.report.json b.report.json c.report.json -o comparison.html
    """
    for path in out:
        if path.suffix.lower() not in _SUFFIXES:
            endings = f"{', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]}"
            raise UsageError(f"--out {path}: end it in {endings}; the ending says what is written.")
    # pydantic is loaded when the command runs, not for `onnxprune --help`
    from onnxprune.report.comparison import compare_runs
    from onnxprune.report.schema import Curve
    from onnxprune.report.terminal import curve_table
    from onnxprune.report.write import write_texts

    if len(files) == 1 and not _is_curve(files[0]):
        single = _read(files[0])
        write_texts({path: _page(single, path) for path in out})
        if as_json or not out:
            show_report(single, as_json=as_json, verbose=verbose)
        return
    if any(path.suffix.lower() == ".xml" for path in out):
        raise UsageError("--out in JUnit XML holds the gates of one run. Give one report.json.")
    compared = compare_runs([run for path in files for run in _runs(path)])
    write_texts({path: _comparison(compared, path) for path in out})
    curve = Curve(points=tuple(run.point.model_copy(update={"file": run.name}) for run in compared.runs))
    if as_json:
        click.echo(curve.to_json(), nl=False)
    elif not out:
        show(curve_table(curve))
        for note in compared.notes:
            click.echo(f"! {note}")


def _is_curve(path: Path) -> bool:
    """Returns whether a file holds the points of a curve; what it is otherwise, its reader says."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and "points" in content


def _read(path: Path) -> Report:
    from onnxprune.report.schema import read_report

    return read_report(path)


def _runs(path: Path) -> list[Run]:
    from onnxprune.report.comparison import Run
    from onnxprune.report.schema import read_curve

    if _is_curve(path):
        points = read_curve(path).points
        if not points:
            raise InputError(f"{path}: the curve has no points, so there is nothing to compare.")
        return [Run.from_point(point) for point in points]
    return [Run.from_report(_read(path), path)]


def _page(single: Report, path: Path) -> str:
    from onnxprune.report.junit import junit_text
    from onnxprune.report.markdown import report_markdown
    from onnxprune.report.page.run_page import report_html

    written = {".html": report_html, ".md": report_markdown, ".xml": junit_text}
    return written[path.suffix.lower()](single)


def _comparison(compared: Compared, path: Path) -> str:
    from onnxprune.report.comparison_markdown import comparison_markdown
    from onnxprune.report.page.comparison_page import comparison_html

    return comparison_html(compared) if path.suffix.lower() == ".html" else comparison_markdown(compared)
