"""Runs as points: what they cost against how good they are, and the front of those that none beats at both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnxprune.report.page.markup import Markup, tag
from onnxprune.report.page.plot import BOTTOM, LEFT, RIGHT, TOP, Axes, figure, label, svg
from onnxprune.report.page.scale import fitting

__all__ = ["Spot", "scatter"]


@dataclass(frozen=True)
class Spot:
    """A run in a drawing.

    Attributes:
        letter: What it is called there.
        x: What it costs.
        y: How good it is.
        across: Ends of the interval of x, or None.
        up: Ends of the interval of y, or None.
        front: Whether no other run is at least as good in both and better in one.
    """

    letter: str
    x: float
    y: float
    across: tuple[float, float] | None = None
    up: tuple[float, float] | None = None
    front: bool = True


def scatter(title: str, spots: Sequence[Spot], *, x_name: str, y_name: str, under: str) -> Markup | None:
    """Returns the drawing; None where there is no point.

    Args:
        title: Headline.
        spots: The runs; more to the left and more to the top is better.
        x_name: What they cost, with the unit.
        y_name: How good they are, with the unit.
        under: A remark below.
    """
    if not spots:
        return None
    xs = [v for spot in spots for v in (spot.x, *(spot.across or ()))]
    ys = [v for spot in spots for v in (spot.y, *(spot.up or ()))]
    axes = Axes(fitting(xs, LEFT, RIGHT, count=5), fitting(ys, BOTTOM, TOP, zero=False), x_name, y_name)
    parts = axes.frame()
    front = sorted((spot for spot in spots if spot.front), key=lambda spot: (spot.x, -spot.y))
    if len(front) > 1:
        parts.append(tag("path", d=_stairs(front, axes), class_="front"))
    for spot in spots:
        parts += _spot(spot, axes)
    named = " ".join(f"{s.letter}: {s.x:.3g}, {s.y:.4g}{', on the front' if s.front else ''}." for s in spots)
    return figure(title, svg(parts, f"{title}: {y_name} over {x_name}. {named}"), under=under)


def _stairs(front: Sequence[Spot], axes: Axes) -> str:
    """Returns the way along the front: right at the height of a run as far as the next, then up to it."""
    path: list[str] = []
    for spot in front:
        x, y = axes.at(spot.x, spot.y)
        path.append(f"H{x:.1f}V{y:.1f}" if path else f"M{x:.1f} {y:.1f}")
    return "".join(path)


def _spot(spot: Spot, axes: Axes) -> list[Markup]:
    x, y = axes.at(spot.x, spot.y)
    parts = []
    if spot.across is not None:
        parts.append(
            tag("line", x1=axes.x.place(spot.across[0]), y1=y, x2=axes.x.place(spot.across[1]), y2=y, class_="reach")
        )
    if spot.up is not None:
        parts.append(tag("line", x1=x, y1=axes.y.place(spot.up[0]), x2=x, y2=axes.y.place(spot.up[1]), class_="reach"))
    parts.append(tag("circle", cx=x, cy=y, r=5, class_="dot after" if spot.front else "dot beaten"))
    near_edge = x > RIGHT - 20
    parts.append(label(x - 8 if near_edge else x + 8, y - 7, spot.letter, "name", "end" if near_edge else "start"))
    return parts
