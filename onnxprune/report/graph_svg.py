"""The coupled groups of a model, drawn on its graph: one SVG file without anything from outside.

Boxes are operators, from the inputs at the top to the outputs at the bottom. A badge on the lower
edge of a box says that its weights write the channels of the group of that number, one on the
upper edge that they read them; lines in the group's colour carry its channels. Grey boxes have
parameters that all stay. What there is to say beyond that is in the tooltips.
"""

from __future__ import annotations

from collections.abc import Mapping

from onnxprune.graph import Model
from onnxprune.groups import Analysis
from onnxprune.report.graph_boxes import Box, draw_boxes
from onnxprune.report.graph_layout import lay_out
from onnxprune.report.graph_legend import LEGEND_WIDTH, legend
from onnxprune.report.graph_paint import (
    NAME_PX,
    STYLE,
    TITLE_PX,
    badge,
    badge_width,
    clip,
    hue,
    say,
    text,
)
from onnxprune.report.graph_wires import wire_paths

__all__ = ["graph_svg"]

_EDGE, _BETWEEN = 28.0, 40.0
_BOX_HEIGHT, _PADDING, _LEAST_WIDTH, _BADGE_GAP = 38.0, 24.0, 92.0, 3.0
_NAME_LETTERS, _MOST_TITLES, _MOST_BADGES, _REST_WIDTH = 30, 4, 8, 26.0


def graph_svg(model: Model, analysis: Analysis, *, title: str, macs_share: Mapping[str, float]) -> str:
    """Returns the drawing as the content of an SVG file.

    Args:
        model: The graph that was analysed.
        analysis: Its groups and frozen channels.
        title: What the drawing is called: the model's file name.
        macs_share: Group name → MACs that run over its channels, as a share of all.
    """
    drawing = draw_boxes(model, analysis)
    sizes = [(_width(box), _BOX_HEIGHT) for box in drawing.boxes]
    layout = lay_out(sizes, drawing.wires, drawing.inputs)
    facts = f"{len(model.nodes)} operators, {len(analysis.groups)} groups of channels that stay or go together"
    key, key_height = legend(analysis.groups, macs_share, title, facts)
    left = _EDGE + LEGEND_WIDTH + _BETWEEN
    width, height = left + layout.width + _EDGE, 2 * _EDGE + max(layout.height, key_height)
    boxes = [_draw(b, x, y, w) for b, (x, y), (w, _) in zip(drawing.boxes, layout.centres, sizes, strict=True)]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}">',
        f"<title>{say(title)}</title>",
        f"<style>{STYLE}</style>",
        '<rect class="page" width="100%" height="100%"/>',
        f'<g transform="translate({_EDGE:g} {_EDGE:g})">',
        *key,
        "</g>",
        f'<g transform="translate({left:g} {_EDGE:g})">',
        *wire_paths(drawing.wires, layout, sizes),
        *boxes,
        "</g>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _title(box: Box) -> str:
    titles = box.titles
    if len(titles) > _MOST_TITLES:
        titles = (*titles[: _MOST_TITLES - 2], "…", titles[-1])
    return " · ".join(titles)


def _width(box: Box) -> float:
    words = max(len(_title(box)) * TITLE_PX, len(clip(box.name, _NAME_LETTERS)) * NAME_PX) + _PADDING
    return max(words, _LEAST_WIDTH) + _badges_width(box)


def _badges_width(box: Box) -> float:
    """Returns the room beside the text that badges take: they would cover it."""
    return max(_row_width(box.reads), _row_width(box.writes))


def _row_width(numbers: tuple[int, ...]) -> float:
    shown = sum(badge_width(number) + _BADGE_GAP for number in numbers[:_MOST_BADGES])
    return shown + (_REST_WIDTH if len(numbers) > _MOST_BADGES else 0.0)


def _draw(box: Box, x: float, y: float, width: float) -> str:
    """Returns a box around (x, y)."""
    kinds = [hue(box.writes[0])] if box.writes else ["stays"] if box.stays else []
    kinds += [] if box.kind == "operator" else ["end"]
    top, left = y - _BOX_HEIGHT / 2, x - width / 2
    middle = x - _badges_width(box) / 2
    parts = [
        f'<g class="{" ".join(kinds)}"><title>{say(chr(10).join(box.said))}</title>',
        f'<rect class="box" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{_BOX_HEIGHT:g}" '
        f'rx="{5 if box.kind == "operator" else _BOX_HEIGHT / 2:g}"/>',
        text(middle, y - 2.5, _title(box), "title middle"),
        text(middle, y + 11.5, clip(box.name, _NAME_LETTERS), "name middle"),
        *_badges(box.reads, left + width, top),
        *_badges(box.writes, left + width, top + _BOX_HEIGHT),
        "</g>",
    ]
    return "".join(parts)


def _badges(numbers: tuple[int, ...], right: float, middle: float) -> list[str]:
    """Returns badges side by side that end near `right`; of very many the first, and how many more there are."""
    parts = []
    left = right - 6.0 - _row_width(numbers)
    for number in numbers[:_MOST_BADGES]:
        parts.append(badge(number, left, middle))
        left += badge_width(number) + _BADGE_GAP
    if len(numbers) > _MOST_BADGES:
        # the edge of the box would run through the text
        parts.append(
            f'<rect class="page" x="{left:.1f}" y="{middle - 6:.1f}" width="{_REST_WIDTH - 4:g}" height="12"/>'
        )
        parts.append(text(left + 2, middle + 3.6, f"+{len(numbers) - _MOST_BADGES}", "number"))
    return parts
