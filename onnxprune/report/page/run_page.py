"""report.html: a run on one page."""

from __future__ import annotations

from collections.abc import Sequence

from onnxprune.report.facts import model_names
from onnxprune.report.page.assets import document
from onnxprune.report.page.channels_section import channels_section
from onnxprune.report.page.figures_section import figures_section
from onnxprune.report.page.frozen_section import frozen_section
from onnxprune.report.page.latency_section import latency_section
from onnxprune.report.page.markup import Markup, tag
from onnxprune.report.page.nodes_section import nodes_section
from onnxprune.report.page.run_section import run_section
from onnxprune.report.page.search_section import search_section
from onnxprune.report.page.section import Section
from onnxprune.report.page.summary import cards, failure_box, heading, remarks_box
from onnxprune.report.page.tiles_section import tiles_section
from onnxprune.report.page.training_section import training_section
from onnxprune.report.schema import Report

__all__ = ["contents", "report_html"]

_SECTIONS = (
    figures_section,
    latency_section,
    channels_section,
    tiles_section,
    search_section,
    training_section,
    nodes_section,
    frozen_section,
    run_section,
)


def report_html(report: Report) -> str:
    """Returns a run as a page that needs nothing but itself."""
    sections = [section for make in _SECTIONS if (section := make(report)) is not None]
    before, after = model_names(report)
    main = tag(
        "main",
        heading(report),
        failure_box(report),
        cards(report),
        remarks_box(report),
        *(section.element() for section in sections),
        id="top",
    )
    return document(f"{before} → {after} · onnxprune", contents(sections), main)


def contents(sections: Sequence[Section]) -> Markup:
    """Returns links to the sections."""
    links = [tag("li", tag("a", section.title, href=f"#{section.name}")) for section in sections]
    return tag("nav", tag("ul", *links), aria_label="Contents")
