"""Runs as points: what they cost against how good they are, and the front of those that none beats at both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnxprune.report.page.markup import Markup, tag
from onnxprune.report.page.plot import BOTTOM, LEFT, RIGHT, TOP, WIDTH, Axes, figure, label, svg
from onnxprune.report.page.scale import fitting

__all__ = ["Spot", "scatter"]

_BESIDE = 13.0
"""Units between the middles of letters and points that do not touch."""


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
    taken = [axes.at(spot.x, spot.y) for spot in spots]
    for spot in spots:
        parts += _spot(spot, axes, taken)
    named = " ".join(f"{s.letter}: {s.x:.3g}, {s.y:.4g}{', on the front' if s.front else ''}." for s in spots)
    return figure(title, svg(parts, f"{title}: {y_name} over {x_name}. {named}"), under=under)


def _stairs(front: Sequence[Spot], axes: Axes) -> str:
    """Returns the way along the front: right at the height of a run as far as the next, then up to it."""
    path: list[str] = []
    for spot in front:
        x, y = axes.at(spot.x, spot.y)
        path.append(f"H{x:.1f}V{y:.1f}" if path else f"M{x:.1f} {y:.1f}")
    return "".join(path)


def _spot(spot: Spot, axes: Axes, taken: list[tuple[float, float]]) -> list[Markup]:
    """Returns a run with its intervals; its letter goes where nothing is yet, and is added to what is `taken`."""
    x, y = axes.at(spot.x, spot.y)
    parts = []
    if spot.across is not None:
        parts.append(
            tag("line", x1=axes.x.place(spot.across[0]), y1=y, x2=axes.x.place(spot.across[1]), y2=y, class_="reach")
        )
    if spot.up is not None:
        parts.append(tag("line", x1=x, y1=axes.y.place(spot.up[0]), x2=x, y2=axes.y.place(spot.up[1]), class_="reach"))
    parts.append(tag("circle", cx=x, cy=y, r=5, class_="dot after" if spot.front else "dot beaten"))
    x_at, y_at = _free(x, y, 4.0 + 4.0 * len(spot.letter), taken)
    taken.append((x_at, y_at))
    parts.append(label(x_at, y_at + 4, spot.letter, "name"))
    return parts


def _free(x: float, y: float, half: float, taken: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Returns the middle of a place for a letter beside a point: the first that touches nothing, else the best."""
    ways = ((1, -1), (-1, -1), (1, 1), (-1, 1), (2, 0), (-2, 0), (0, -2), (0, 2))
    places = [(x + half * across * 0.9 + 3 * across, y + 11 * up) for across, up in ways]
    places = [(px, py) for px, py in places if px - half > LEFT and px + half < WIDTH and py < BOTTOM] or places[:1]
    return max(places, key=lambda place: min(_BESIDE, *(_distance(place, other) for other in taken)))


def _distance(one: tuple[float, float], other: tuple[float, float]) -> float:
    return max(abs(one[0] - other[0]), abs(one[1] - other[1]) * 1.2)
