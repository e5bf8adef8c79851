"""Elements of HTML and SVG as text that is escaped by construction.

Text that comes from a model, such as the name of a node, is a plain `str` and is escaped wherever it
becomes part of an element. Only what `tag` and `join` give, a `Markup`, is taken as it is.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable

__all__ = ["Content", "Markup", "attribute", "join", "tag"]

# what HTML cannot hold at all, not even escaped
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\u007e\u00a0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010ffff]")
_EMPTY = frozenset(("br", "col", "hr", "input", "link", "meta", "path", "line", "rect", "circle"))
_DRAWN = frozenset(("path", "line", "rect", "circle"))


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Content = str | None
"""What an element may hold: text, which is escaped; `Markup`, which is not; None, which is nothing."""


def _escaped(content: Content) -> str:
    if content is None:
        return ""
    if isinstance(content, Markup):
        return content
    return html.escape(_FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", content), quote=False)


def attribute(value: str | float) -> str:
    """Returns the value of an attribute, escaped; numbers with two decimals at most.

    Raises:
        ValueError: when a number is not finite: it would draw nothing and say nothing.
    """
    if isinstance(value, int | float):
        if not math.isfinite(value):
            raise ValueError(f"an attribute cannot be {value}")
        return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return html.escape(_FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", value), quote=True)


def join(parts: Iterable[Content], between: str = "") -> Markup:
    """Returns contents one after another."""
    return Markup(_escaped(between).join(_escaped(part) for part in parts if part is not None))


def tag(name: str, /, *contents: Content, **attributes: str | float | bool | None) -> Markup:
    """Returns an element.

    Args:
        name: Such as "td".
        *contents: What it holds.
        **attributes: Named as in HTML with "_" for "-", "class_" and "for_" for what Python reserves; None and
            False leave one out, True gives it without a value.
    """
    given = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        given.append(f" {key}" if value is True else f' {key}="{attribute(value)}"')
    start = f"<{name}{''.join(given)}"
    if name in _EMPTY and not contents:
        return Markup(f"{start}/>" if name in _DRAWN else f"{start}>")
    return Markup(f"{start}>{join(contents)}</{name}>")
