"""Colours, text and badges of a drawing, as pieces of SVG.

Groups take the six strong colours of Okabe and Ito (2008), which people with any kind of colour
blindness tell apart, in turn; the second six have hollow badges and dashed lines, the third
square badges and dotted lines. The number on the badge is never repeated.
"""

from __future__ import annotations

import re
from xml.sax.saxutils import escape

__all__ = ["BADGE_HEIGHT", "NAME_PX", "STYLE", "TITLE_PX", "badge", "badge_width", "clip", "dash", "hue", "say", "text"]

NAME_PX, TITLE_PX, BADGE_HEIGHT = 6.1, 7.0, 15.0
"""Width of a letter of a name (10 px, fixed width) and, generously, of a title (12 px); height of a badge."""

_HUES = (
    ("#0072b2", "#ffffff"),
    ("#e69f00", "#000000"),
    ("#009e73", "#000000"),
    ("#cc79a7", "#000000"),
    ("#56b4e9", "#000000"),
    ("#d55e00", "#ffffff"),
)
_DASHES = ("", "9 4", "2 4")
# what XML 1.0 cannot hold at all, not even escaped
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

STYLE = (
    """
text { font-family: system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif; font-size: 12px; fill: #1c2127 }
.name, .number { font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 10px }
.name, .soft { fill: #59636e }
.head { font-size: 17px; font-weight: 600 }
.title { font-weight: 600 }
.badge { font-size: 10px; font-weight: 700; text-anchor: middle }
.page { fill: #ffffff }
.box { fill: #f6f8fa; stroke: #a5afba; stroke-width: 1.2 }
.stays .box { fill: #dfe3e8; stroke: #8a949e; stroke-dasharray: 4 3 }
.end .box { fill: #ffffff }
.wire { fill: none; stroke: #b4bdc7; stroke-width: 1.4 }
.rule { stroke: #d5dbe1; stroke-width: 1 }
.middle { text-anchor: middle }
.right { text-anchor: end }
@media (prefers-color-scheme: dark) {
  text { fill: #e6eaef }
  .name, .soft { fill: #a3adb8 }
  .page { fill: #12161b }
  .box { fill: #1d232b; stroke: #5d6772 }
  .stays .box { fill: #363d46; stroke: #78828d }
  .end .box { fill: #12161b }
  .wire { stroke: #55606b }
  .rule { stroke: #323a43 }
}
"""
    + "".join(
        f".c{i} .box, .wire.c{i}, .mark.c{i} {{ stroke: {colour} }}\n"
        f".mark.c{i} {{ fill: {colour} }}\n.ink{i} {{ fill: {ink} }}\n.hollow{i} {{ fill: {colour} }}\n"
        for i, (colour, ink) in enumerate(_HUES)
    )
    + ".c .box { stroke-width: 1.8 }\n.wire.c { stroke-width: 2 }\n.mark { stroke-width: 1.6 }\n"
    + ".mark.hollow { fill: #ffffff }\n"
    + "@media (prefers-color-scheme: dark) { .mark.hollow { fill: #12161b } }\n"
)


def hue(number: int) -> str:
    """Returns the classes of what belongs to group `number`."""
    return f"c c{(number - 1) % len(_HUES)}"


def dash(number: int) -> str:
    """Returns the dashes of lines of group `number`, "" for a whole line."""
    return _DASHES[(number - 1) // len(_HUES) % len(_DASHES)]


def clip(name: str, letters: int) -> str:
    """Returns the end of a name, which tells most, behind "…" where it is longer than `letters`."""
    return name if len(name) <= letters else f"…{name[len(name) - letters + 1 :]}"


def say(words: str) -> str:
    """Returns text that SVG can hold; what XML forbids becomes "\N{REPLACEMENT CHARACTER}"."""
    return escape(_FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", words))


def text(x: float, y: float, words: str, kind: str = "") -> str:
    """Returns a line of text whose baseline starts at (x, y), of the classes `kind`."""
    of_kind = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{of_kind}>{say(words)}</text>'


def badge_width(number: int) -> float:
    """Returns how wide the badge of a group is."""
    return 9.0 + 6.4 * len(str(number))


def badge(number: int, left: float, middle: float) -> str:
    """Returns the badge of a group: its number in its colour.

    Args:
        number: Number of the group.
        left: Its left edge.
        middle: Its middle, vertically.
    """
    turn, width = (number - 1) // len(_HUES) % len(_DASHES), badge_width(number)
    place = (number - 1) % len(_HUES)
    kind = f"mark {hue(number)}{' hollow' if turn == 1 else ''}"
    ink = "" if turn == 1 else f" ink{place}"
    return (
        f'<rect class="{kind}" x="{left:.1f}" y="{middle - BADGE_HEIGHT / 2:.1f}" width="{width:.1f}" '
        f'height="{BADGE_HEIGHT:g}" rx="{2 if turn == 2 else BADGE_HEIGHT / 2:g}"/>'
        + text(left + width / 2, middle + 3.6, str(number), f"badge{ink}")
    )
