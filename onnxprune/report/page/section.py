"""Sections of the page, and tables that scroll within their own box where the window is narrow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from onnxprune.report.page.markup import Content, Markup, join, tag

__all__ = ["Section", "charts", "folded", "listing", "missing", "pairs", "paragraphs", "table"]


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        name: What links name it by.
        title: Its headline.
        body: What stands below that.
    """

    name: str
    title: str
    body: Markup

    def element(self) -> Markup:
        """Returns the section as an element."""
        heading = tag("h2", self.title, id=f"{self.name}-title")
        return tag("section", heading, self.body, id=self.name, aria_labelledby=f"{self.name}-title")


def table(
    caption: str,
    head: Sequence[str],
    rows: Iterable[Sequence[Content]],
    *,
    words: Sequence[int] = (),
    kind: str = "",
    loud: bool = True,
) -> Markup:
    """Returns a table in a box that scrolls by itself; the first cell of a row is its header.

    Args:
        caption: What it holds.
        head: Headers of the columns.
        rows: Cells.
        words: Numbers of columns, beside the first, that hold words and not figures.
        kind: Further classes.
        loud: Whether the caption is shown, and not only said.
    """
    aligned = ["w" if i == 0 or i in words else None for i in range(len(head))]
    header = tag("tr", *(tag("th", name, scope="col", class_=how) for name, how in zip(head, aligned, strict=True)))
    body = []
    for row in rows:
        cells = [tag("th", row[0], scope="row")]
        cells += [tag("td", cell, class_=how) for cell, how in zip(row[1:], aligned[1:], strict=True)]
        body.append(tag("tr", *cells))
    shown = tag("caption", caption, class_=None if loud else "said")
    whole = tag("table", shown, tag("thead", header), tag("tbody", *body), class_=kind or None)
    return tag("div", whole, class_="scroll", role="region", aria_label=caption, tabindex=0)


def charts(*figures: Markup | None) -> Markup | None:
    """Returns drawings side by side, None where there is none."""
    there = [figure for figure in figures if figure is not None]
    return tag("div", *there, class_="charts") if there else None


def folded(summary: Content, *contents: Content, long: bool = False) -> Markup:
    """Returns what is shown when one asks for it; in print, too, unless it is `long`."""
    return tag("details", tag("summary", summary), *contents, class_="long" if long else None)


def listing(items: Iterable[Content], kind: str | None = None) -> Markup:
    """Returns a list."""
    return tag("ul", *(tag("li", item) for item in items), class_=kind)


def paragraphs(*texts: Content, kind: str | None = None) -> Markup:
    """Returns a paragraph for each text that is not empty."""
    return join(tag("p", text, class_=kind) for text in texts if text)


def pairs(rows: Iterable[tuple[str, Content]]) -> Markup:
    """Returns names with what they stand for, one below the other."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in rows))


def missing() -> Markup:
    """Returns that something was not measured."""
    return tag("span", "not measured", class_="missing")
