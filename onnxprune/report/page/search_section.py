"""The search for keep ratios: cost against the budget, how undecided the masks were, and α of each group."""

from __future__ import annotations

from collections.abc import Sequence

from onnxprune.report.graph_paint import clip
from onnxprune.report.page import numbers
from onnxprune.report.page.heat_map import merged, shade_key, squares
from onnxprune.report.page.line_chart import Line, Mark, line_chart
from onnxprune.report.page.markup import Markup, join, tag
from onnxprune.report.page.plot import figure, label, svg, thinned
from onnxprune.report.page.section import Section, charts, folded, paragraphs, table
from onnxprune.report.schema import Report, SearchPoint

__all__ = ["search_section"]

_MOST_ROWS, _MOST_COLUMNS, _PRINTED = 48, 60, 100
_LEFT, _TOP, _WIDTH, _ROW = 132.0, 6.0, 220.0, 15.0
_LETTERS = 17


def search_section(report: Report) -> Section | None:
    """Returns the section; None where no keep ratios were learned."""
    search = report.search
    if search is None or not search.points:
        return None
    points = search.points
    said = f"Keep ratios were learned over {search.steps:,} steps"
    said += f" in {numbers.seconds(search.seconds)}." if search.seconds is not None else "."
    return Section(
        "search",
        "Search for keep ratios",
        join((paragraphs(said), charts(_cost(points), _undecided(points), _loss(points)), _ratios(points))),
    )


def _cost(points: Sequence[SearchPoint]) -> Markup | None:
    resources = list(dict.fromkeys(name for point in points for name in point.used))
    lines = [Line(name, tuple((p.step, _percent(p.used.get(name))) for p in points)) for name in resources]
    return line_chart(
        f"Cost of the keep ratios{f', {resources[0]}' if len(resources) == 1 else ''}",
        lines,
        x_name="step",
        y_name="% of the budget",
        marks=[Mark(100.0, "budget")],
    )


def _undecided(points: Sequence[SearchPoint]) -> Markup | None:
    line = Line("undecided", tuple((p.step, _percent(p.undecided)) for p in points))
    return line_chart(
        "How undecided the masks were",
        [line],
        x_name="step",
        y_name="undecided, %",
        under=f"100{numbers.NBSP}%: every channel is a coin that is tossed; 0{numbers.NBSP}%: all are settled.",
    )


def _loss(points: Sequence[SearchPoint]) -> Markup | None:
    line = Line("loss", tuple((p.step, p.loss) for p in points))
    return line_chart("Loss under masks", [line], x_name="step", y_name="loss")


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _ratios(points: Sequence[SearchPoint]) -> Markup | None:
    names = list(dict.fromkeys(name for point in points for name in point.ratios))
    if not names:
        return None
    rows = [[point.ratios.get(name) or 0.0 for point in points] for name in names]
    last = points[-1].ratios
    found = [(name, numbers.plain(_at(points, name)), numbers.plain(last.get(name))) for name in names]
    listed = table(
        "Keep ratio α by group", ("group", "α at first", "α at last"), found, kind="named sortable", loud=False
    )
    return join(
        (
            _map(names, rows, points),
            folded(f"α of {len(names):,} groups in figures", listed, long=len(names) > _PRINTED),
        )
    )


def _at(points: Sequence[SearchPoint], name: str) -> float | None:
    return next((value for point in points if (value := point.ratios.get(name)) is not None), None)


def _map(names: Sequence[str], rows: Sequence[Sequence[float]], points: Sequence[SearchPoint]) -> Markup:
    shown = merged(rows, _MOST_ROWS, _MOST_COLUMNS)
    each = -(-len(rows) // _MOST_ROWS)
    height = _ROW * len(shown)
    parts = [
        tag("rect", x=_LEFT, y=_TOP, width=_WIDTH, height=height, class_="track"),
        *squares(shown, _LEFT, _TOP, _WIDTH, height),
        tag("rect", x=_LEFT, y=_TOP, width=_WIDTH, height=height, class_="edge"),
    ]
    for row in range(len(shown)):
        first, last = row * each, min((row + 1) * each, len(names))
        text = clip(names[first], _LETTERS) if each == 1 else f"groups {first + 1}–{last}"
        parts.append(label(_LEFT - 6, _TOP + _ROW * row + 11, text, "tick", "end"))
    bottom = _TOP + height
    steps = thinned([str(points[0].step), str(points[-1].step)], [_LEFT + 8, _LEFT + _WIDTH - 8])
    parts += [label(x, bottom + 15, text) for text, x in steps]
    parts.append(label(_LEFT + _WIDTH / 2, bottom + 15, "step", "axis"))
    said = f"Keep ratio α of {len(names)} groups over {points[-1].step} steps; the table below has the figures."
    under = f"Each row is the mean of {each} groups that follow one another." if each > 1 else ""
    return figure(
        "Keep ratio α by group",
        svg(parts, said, height=bottom + 22, kind="tall"),
        shade_key("α 0: none stays", "1: all stay"),
        under=under,
        wide=True,
    )
