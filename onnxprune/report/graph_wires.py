"""The wires of a drawing: smooth lines from the lower edges of boxes to the upper edges of others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onnxprune.report.graph_boxes import Wire
from onnxprune.report.graph_layout import Layout
from onnxprune.report.graph_paint import dash, hue, say

__all__ = ["wire_paths"]

Point = tuple[float, float]
Size = tuple[float, float]

_PORT_GAP, _PORT_SHARE, _MOST_COLOURS, _STRIPE = 14.0, 0.5, 3, 9


def wire_paths(wires: Sequence[Wire], layout: Layout, sizes: Sequence[Size]) -> Iterator[str]:
    """Yields each wire as SVG, relative to the layout's corner.

    Args:
        wires: The wires.
        layout: Where boxes and bends lie.
        sizes: Width and height of each box.
    """
    leave, arrive = _ports(wires, layout, sizes)
    for number, wire in enumerate(wires):
        pieces: dict[str, None] = {}
        for target, route in zip(wire.targets, layout.routes[number], strict=True):
            (_, top), (_, bottom) = layout.centres[wire.source], layout.centres[target]
            start = (leave[number], top + sizes[wire.source][1] / 2)
            end = (arrive[number, target], bottom - sizes[target][1] / 2)
            pieces |= dict.fromkeys(_pieces([start, *route[1:-1], end]))
        yield from _strokes(" ".join(pieces), wire)


def _strokes(path: str, wire: Wire) -> Iterator[str]:
    """Yields the lines of a wire: one in the colour of each group it carries, striped where these are several."""
    numbers = wire.groups[:_MOST_COLOURS]
    yield f"<g><title>{say(wire.said)}</title>"
    if not numbers:
        yield f'<path class="wire" d="{path}"/>'
    for place, number in enumerate(numbers):
        # each line leaves room for those before it, which show through the gaps
        stripes = f"{_STRIPE} {_STRIPE * place}" if place else dash(number)
        dashed = f' stroke-dasharray="{stripes}"' if stripes else ""
        yield f'<path class="wire {hue(number)}"{dashed} d="{path}"/>'
    yield "</g>"


def _pieces(points: Sequence[Point]) -> Iterator[str]:
    """Yields the parts of a line through `points`; bends that lie straight below one another are one part."""
    start = points[0]
    for here, after in zip(points[1:], [*points[2:], None], strict=True):
        straight = abs(here[0] - start[0]) < 0.05
        if straight and after is not None and abs(after[0] - here[0]) < 0.05:
            continue
        (x, y), (x2, y2) = start, here
        middle = (y + y2) / 2
        curve = f"V{y2:.1f}" if straight else f"C{x:.1f} {middle:.1f} {x2:.1f} {middle:.1f} {x2:.1f} {y2:.1f}"
        yield f"M{x:.1f} {y:.1f}{curve}"
        start = here


def _ports(
    wires: Sequence[Wire], layout: Layout, sizes: Sequence[Size]
) -> tuple[dict[int, float], dict[tuple[int, int], float]]:
    """Returns where each wire leaves its box, and where it arrives at each target, side by side without crossing."""
    leaving: dict[int, list[tuple[float, int]]] = {}
    arriving: dict[int, list[tuple[float, int]]] = {}
    for number, wire in enumerate(wires):
        routes = layout.routes[number]
        leaving.setdefault(wire.source, []).append((sum(r[1][0] for r in routes) / len(routes), number))
        for target, route in zip(wire.targets, routes, strict=True):
            arriving.setdefault(target, []).append((route[-2][0], number))
    leave = {number: x for box, found in leaving.items() for number, x in _side_by_side(box, found, layout, sizes)}
    arrive = {
        (number, box): x for box, found in arriving.items() for number, x in _side_by_side(box, found, layout, sizes)
    }
    return leave, arrive


def _side_by_side(
    box: int, found: Sequence[tuple[float, int]], layout: Layout, sizes: Sequence[Size]
) -> Iterator[tuple[int, float]]:
    gap = min(_PORT_GAP, sizes[box][0] * _PORT_SHARE / len(found))
    for place, (_, number) in enumerate(sorted(found)):
        yield number, layout.centres[box][0] + (place - (len(found) - 1) / 2) * gap
