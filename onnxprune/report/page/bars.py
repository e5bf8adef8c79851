"""Bars within tables and cards: what is left of what there was."""

from __future__ import annotations

from onnxprune.report.page.markup import Markup, tag

__all__ = ["pair", "share_bar"]


def share_bar(share: float, said: str, *, kind: str = "after") -> Markup:
    """Returns a bar that fills a share of its track.

    Args:
        share: In [0, 1]; what lies outside is drawn at the end.
        said: What a screen reader says in its place.
        kind: Class of the filled part.
    """
    filled = 100 * min(max(share, 0.0), 1.0)
    return tag(
        "svg",
        tag("rect", width=round(filled, 1), height=10, class_=kind),
        class_="bar",
        viewBox="0 0 100 10",
        preserveAspectRatio="none",
        role="img",
        aria_label=said,
    )


def pair(before: float | None, after: float | None, said: str) -> Markup:
    """Returns two bars one above the other, the longer one over the whole width; a value that is None has no bar."""
    longest = max(before or 0.0, after or 0.0) or 1.0
    rows = [
        tag("rect", y=y, width=100 * max(value, 0.0) / longest, height=5, class_=kind)
        for y, value, kind in ((0.0, before, "before"), (6.5, after, "after"))
        if value is not None
    ]
    return tag(
        "svg",
        *rows,
        class_="pair",
        viewBox="0 0 100 11.5",
        preserveAspectRatio="none",
        role="img",
        aria_label=said,
    )
