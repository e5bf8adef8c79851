"""What drawings with two axes have in common: frame, ticks, names of the axes, key, text for those who cannot see.

Drawings are 360 units wide and shown at 300 to 440 pixels, so that text in them is as large as text beside
them on a phone as on a desk; several stand side by side where there is room.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from onnxprune.report.page.markup import Markup, join, tag
from onnxprune.report.page.scale import Scale

__all__ = ["BOTTOM", "HEIGHT", "LEFT", "RIGHT", "TOP", "WIDTH", "Axes", "figure", "key", "label", "svg", "thinned"]

WIDTH, HEIGHT = 360.0, 214.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 346.0, 24.0, 176.0
_LETTER = 6.7
"""Width of a letter of a tick, about."""


def label(x: float, y: float, words: str, kind: str = "tick", anchor: str = "middle") -> Markup:
    """Returns a line of text in a drawing whose baseline is at y."""
    return tag("text", words, x=x, y=y, class_=kind, text_anchor=None if anchor == "start" else anchor)


def svg(parts: Iterable[Markup], said: str, *, width: float = WIDTH, height: float = HEIGHT, kind: str = "") -> Markup:
    """Returns a drawing.

    Args:
        parts: What is in it.
        said: What a screen reader says in its place.
        width: Its width in units.
        height: Its height.
        kind: Further classes; a "map" is shown in its own size.
    """
    fixed = "map" in kind.split()
    return tag(
        "svg",
        *parts,
        class_=f"chart {kind}".strip(),
        width=width if fixed else None,
        height=height if fixed else None,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_label=said,
    )


def figure(title: str, *contents: Markup | None, under: str | Markup = "", wide: bool = False) -> Markup:
    """Returns a drawing with its title above and a remark below it."""
    return tag(
        "figure",
        tag("figcaption", title),
        *contents,
        tag("p", under, class_="under") if under else None,
        class_="wide" if wide else None,
    )


def key(entries: Iterable[tuple[str, str]]) -> Markup:
    """Returns the key of a drawing.

    Args:
        entries: Classes of the line, and what it stands for.
    """
    items = (
        tag(
            "li",
            tag(
                "svg",
                tag("line", x1=0, y1=5, x2=22, y2=5, class_=kind),
                viewBox="0 0 22 10",
                aria_hidden="true",
                class_="swatch",
            ),
            name,
        )
        for kind, name in entries
    )
    return tag("ul", *items, class_="key")


def thinned(names: Sequence[str], places: Sequence[float]) -> list[tuple[str, float]]:
    """Returns names of ticks with their places, without those that would run into the one before or the last."""
    if not names:
        return []
    shown: list[tuple[str, float]] = []
    last, last_at = names[-1], places[-1]
    for name, place in zip(names[:-1], places[:-1], strict=True):
        free = not shown or place - shown[-1][1] >= _LETTER * (len(name) + len(shown[-1][0])) / 2 + 6
        if free and last_at - place >= _LETTER * (len(name) + len(last)) / 2 + 6:
            shown.append((name, place))
    return [*shown, (last, last_at)]


@dataclass(frozen=True)
class Axes:
    """Two axes with their names, and the drawing around what stands between them.

    Attributes:
        x: The horizontal axis.
        y: The vertical axis.
        x_name: What it shows, with its unit.
        y_name: Likewise.
        x_texts: Names of the ticks of x, where numbers do not serve.
        y_texts: Likewise.
    """

    x: Scale
    y: Scale
    x_name: str
    y_name: str
    x_texts: tuple[str, ...] = field(default=())
    y_texts: tuple[str, ...] = field(default=())

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Returns the place of a point."""
        return self.x.place(x), self.y.place(y)

    def frame(self) -> list[Markup]:
        """Returns lines, ticks and names."""
        parts = [tag("text", self.y_name, x=2, y=11, class_="axis")]
        for value, name in zip(self.y.ticks, self.y_texts or self.y.names(), strict=True):
            y = self.y.place(value)
            parts.append(tag("line", x1=LEFT, y1=y, x2=RIGHT, y2=y, class_="grid"))
            parts.append(label(LEFT - 6, y + 3.8, name, anchor="end"))
        parts.append(tag("line", x1=LEFT, y1=BOTTOM, x2=RIGHT, y2=BOTTOM, class_="base"))
        places = [self.x.place(value) for value in self.x.ticks]
        for x in places:
            parts.append(tag("line", x1=x, y1=BOTTOM, x2=x, y2=BOTTOM + 4, class_="base"))
        for name, x in thinned(self.x_texts or self.x.names(), places):
            parts.append(label(x, BOTTOM + 17, name))
        parts.append(label(RIGHT, HEIGHT - 5, self.x_name, "axis", "end"))
        return [join(parts)]
