"""Many rows of shares over steps, and maps of tiles: squares that are the fuller the more there is.

Squares of one shade are one path, so that a map of ten thousand squares stays small.
"""

from __future__ import annotations

from collections.abc import Sequence

from onnxprune.report.page.markup import Markup, tag

__all__ = ["SHADES", "merged", "shade_key", "squares"]

SHADES = 10
"""Steps of shade between nothing and all."""


def squares(
    values: Sequence[Sequence[float]], left: float, top: float, width: float, height: float, *, gap: float = 0.0
) -> list[Markup]:
    """Returns shares as a grid of squares, rows from the top.

    Args:
        values: Rows of shares in [0, 1]; all rows are as long.
        left: Left edge.
        top: Upper edge.
        width: Width of all columns.
        height: Height of all rows.
        gap: Room between squares, in units of the drawing.
    """
    rows, columns = len(values), len(values[0]) if values else 0
    if not rows or not columns:
        return []
    wide, high = width / columns, height / rows
    paths: dict[int, list[str]] = {}
    for row, line in enumerate(values):
        start = 0
        shades = [round(min(max(value, 0.0), 1.0) * SHADES) for value in line]
        for column in range(1, columns + 1):
            # squares of one shade side by side are one where no gap shows between them
            if column < columns and shades[column] == shades[start] and not gap:
                continue
            if shades[start]:
                x, y = left + start * wide + gap / 2, top + row * high + gap / 2
                across, down = (column - start) * wide - gap, high - gap
                paths.setdefault(shades[start], []).append(f"M{x:.1f} {y:.1f}h{across:.2f}v{down:.2f}h-{across:.2f}z")
            start = column
    return [
        tag("path", d="".join(parts), class_="shade", fill_opacity=shade / SHADES)
        for shade, parts in sorted(paths.items())
    ]


def merged(values: Sequence[Sequence[float]], rows: int, columns: int) -> list[list[float]]:
    """Returns a grid of at most `rows` by `columns`, each square the mean of those that fall into it."""
    high = -(-len(values) // rows)
    wide = -(-len(values[0]) // columns) if values else 1
    if high <= 1 and wide <= 1:
        return [list(line) for line in values]
    found = []
    for top in range(0, len(values), high):
        block = values[top : top + high]
        found.append([_mean([v for line in block for v in line[x : x + wide]]) for x in range(0, len(values[0]), wide)])
    return found


def shade_key(low: str, high: str) -> Markup:
    """Returns the key of shades, from `low` to `high`."""
    steps = [
        tag("rect", x=12 * i, y=0, width=12, height=10, class_="shade", fill_opacity=i / SHADES)
        for i in range(SHADES + 1)
    ]
    width = 12 * (SHADES + 1)
    frame = tag("rect", x=0.5, y=0.5, width=width - 1, height=9, class_="edge")
    drawing = tag("svg", *steps, frame, viewBox=f"0 0 {width} 10", class_="shades", aria_hidden="true")
    return tag("p", low, " ", drawing, " ", high, class_="key")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
