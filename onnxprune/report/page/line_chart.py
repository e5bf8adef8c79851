"""Lines over steps: losses, scores, costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnxprune.report.page.markup import Markup, tag
from onnxprune.report.page.numbers import plain
from onnxprune.report.page.plot import BOTTOM, LEFT, RIGHT, TOP, Axes, figure, key, label, svg
from onnxprune.report.page.scale import fitting, powers, steps

__all__ = ["Line", "Mark", "line_chart"]

_MOST_DOTS = 24
_KINDS = 6


@dataclass(frozen=True)
class Line:
    """A line with its name; a point without a value is a gap."""

    name: str
    points: tuple[tuple[float, float | None], ...]
    kind: str = ""


@dataclass(frozen=True)
class Mark:
    """A value that lines are read against, such as a limit; `upright` marks a step."""

    at: float
    name: str
    upright: bool = False


def line_chart(
    title: str,
    lines: Sequence[Line],
    *,
    x_name: str,
    y_name: str,
    marks: Sequence[Mark] = (),
    zero: bool = True,
    doubling: bool = False,
    under: str = "",
) -> Markup | None:
    """Returns a drawing of lines; None where no line has a point.

    Args:
        title: Headline.
        lines: What is drawn; at most six are told apart.
        x_name: What the steps are.
        y_name: What is shown, with its unit.
        marks: Values to read the lines against.
        zero: Whether the vertical axis begins at zero.
        doubling: Whether the steps double, as batch sizes do.
        under: A remark below.
    """
    known = [[(x, y) for x, y in line.points if y is not None] for line in lines]
    xs = [x for points in known for x, _ in points]
    if not xs:
        return None
    ys = [y for points in known for _, y in points] + [mark.at for mark in marks if not mark.upright]
    across = powers(xs, LEFT, RIGHT) if doubling else steps(int(min(xs)), int(max(xs)), LEFT, RIGHT)
    axes = Axes(across, fitting(ys, BOTTOM, TOP, zero=zero), x_name, y_name)
    parts = axes.frame()
    for mark in marks:
        parts += _mark(mark, axes)
    kinds = [line.kind or f"s{place % _KINDS}" for place, line in enumerate(lines)]
    for line, kind in zip(lines, kinds, strict=True):
        parts += _line(line, kind, axes)
    entries = [(f"stroke {kind}", line.name) for line, kind in zip(lines, kinds, strict=True)]
    legend = key(entries) if len(lines) > 1 else None
    return figure(title, svg(parts, _said(title, lines, x_name, y_name, marks)), legend, under=under)


def _line(line: Line, kind: str, axes: Axes) -> list[Markup]:
    """Returns the strokes between points that follow one another, and dots where there are few."""
    path, open_ = [], False
    dots = []
    for x, y in line.points:
        if y is None:
            open_ = False
            continue
        place = "{:.1f} {:.1f}".format(*axes.at(x, y))
        path.append(f"{'L' if open_ else 'M'}{place}")
        open_ = True
        if len(line.points) <= _MOST_DOTS:
            across, up = axes.at(x, y)
            said = f"{line.name}: {plain(y)} at {_number(x)}"
            dots.append(tag("circle", tag("title", said), cx=across, cy=up, r=3, class_=f"dot {kind}"))
    return [tag("path", d="".join(path), class_=f"stroke {kind}"), *dots]


def _mark(mark: Mark, axes: Axes) -> list[Markup]:
    if mark.upright:
        x = axes.x.place(mark.at)
        late = x > (LEFT + RIGHT) / 2
        return [
            tag("line", x1=x, y1=TOP - 4, x2=x, y2=BOTTOM, class_="mark"),
            label(x - 4 if late else x + 4, TOP + 5, mark.name, "tick", "end" if late else "start"),
        ]
    y = axes.y.place(mark.at)
    return [
        tag("line", x1=LEFT, y1=y, x2=RIGHT, y2=y, class_="mark"),
        label(RIGHT, y - 4, mark.name, "tick", "end"),
    ]


def _number(value: float) -> str:
    return f"{value:g}"


def _said(title: str, lines: Sequence[Line], x_name: str, y_name: str, marks: Sequence[Mark]) -> str:
    said = [f"{title}, {y_name} over {x_name}."]
    for line in lines:
        known = [(x, y) for x, y in line.points if y is not None]
        if known:
            (x0, y0), (x1, y1) = known[0], known[-1]
            way = f"{plain(y0)} at {_number(x0)}"
            said.append(
                f"{line.name}: {way}." if len(known) == 1 else f"{line.name}: {way}, {plain(y1)} at {_number(x1)}."
            )
    said += [f"{mark.name} at {_number(mark.at)}." for mark in marks]
    return " ".join(said)
