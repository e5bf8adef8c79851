"""The files of a report: report.json, and beside it the page for people and the text for pull requests."""

from __future__ import annotations

from pathlib import Path

from onnxprune.report.comparison import Run, compare_runs
from onnxprune.report.comparison_markdown import comparison_markdown
from onnxprune.report.markdown import report_markdown
from onnxprune.report.page.comparison_page import comparison_html
from onnxprune.report.page.run_page import report_html
from onnxprune.report.schema import Curve, Report, write_report
from onnxprune.report.write import write_text, write_texts

__all__ = ["PAGES", "beside", "write_curves", "write_reports"]

PAGES = (".html", ".md")
"""How the names of what is written beside report.json end."""


def beside(path: Path) -> tuple[Path, ...]:
    """Returns report.json itself, and what is written beside it."""
    return (path, *(path.with_suffix(suffix) for suffix in PAGES))


def write_reports(report: Report, path: Path) -> None:
    """Writes `report` to `path`, and beside it as HTML and Markdown.

    Raises:
        OutputError: when a place cannot be written.
    """
    # the figures first: they are what cannot be made again
    write_report(report, path)
    html, markdown = beside(path)[1:]
    write_texts({html: report_html(report), markdown: report_markdown(report)})


def write_curves(curve: Curve, path: Path) -> None:
    """Writes a curve to `path`, and beside it as a comparison of its points.

    Raises:
        OutputError: when a place cannot be written.
    """
    write_text(path, curve.to_json())
    html, markdown = beside(path)[1:]
    comparison = compare_runs([Run.from_point(point) for point in curve.points])
    write_texts({html: comparison_html(comparison), markdown: comparison_markdown(comparison)})
