"""The style and the script of the pages, which stand in files of their own beside this one."""

from __future__ import annotations

from functools import cache
from importlib import resources

from onnxprune.report.page.markup import Markup, join, tag

__all__ = ["document"]


@cache
def _text(name: str) -> Markup:
    return Markup(resources.files(__package__).joinpath(name).read_text(encoding="utf-8"))


def document(title: str, *body: Markup | None) -> str:
    """Returns a whole page that needs nothing from outside, and allows nothing from there."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("title", title),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="generator", content="onnxprune"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("link", rel="icon", href="data:,"),
        tag("style", _text("style.css")),
    )
    whole = tag("html", head, tag("body", *body, tag("script", _text("page.js"))), lang="en")
    return join((Markup("<!DOCTYPE html>\n"), whole, "\n"))


_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
