"""The legend of a drawing: its groups, and what the marks mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnxprune.core.group import Group
from onnxprune.report.figures import percent_text
from onnxprune.report.graph_paint import badge, clip, say, text

__all__ = ["LEGEND_WIDTH", "legend"]

LEGEND_WIDTH = 400.0
_ROW, _NAME_AT, _CHANNELS_AT = 20.0, 40.0, 320.0
_NAME_LETTERS, _FACT_LETTERS = 38, 46
_MEANING = (
    "Point at a box or a line for more.",
    "On a lower edge: the box writes the group's channels.",
    "On an upper edge: it reads them.",
    "Lines in a group's colour carry its channels.",
    "Grey: has parameters, and all of them stay.",
)


def legend(groups: Sequence[Group], macs_share: Mapping[str, float], title: str, facts: str) -> tuple[list[str], float]:
    """Returns the legend as SVG around its upper left corner, and its height in pixels.

    Args:
        groups: The groups; they are numbered from 1.
        macs_share: Group name → MACs that run over its channels, as a share of all.
        title: Headline.
        facts: A line below it.
    """
    parts = [text(0, 14, clip(title, _FACT_LETTERS - 4), "head"), text(0, 36, facts, "soft")]
    y = 62.0
    for line in _MEANING:
        parts.append(text(0, y, line, "soft"))
        y += 17.0
    y += 20.0
    parts += [
        text(0, y, "group", "title"),
        text(_CHANNELS_AT, y, "channels", "title right"),
        text(LEGEND_WIDTH, y, "MACs", "title right"),
        f'<path class="rule" d="M0 {y + 8:.1f}H{LEGEND_WIDTH:g}"/>',
    ]
    for number, group in enumerate(groups, start=1):
        parts.append(_row(number, group, percent_text(macs_share.get(group.name)), y + 4 + number * _ROW))
    if not groups:
        parts.append(text(0, y + 4 + _ROW, "No channel can be pruned.", "soft"))
    return parts, y + 4 + max(len(groups), 1) * _ROW


def _row(number: int, group: Group, share: str, y: float) -> str:
    said = f"{group.name}: {group.size} channels, {len(group.members)} parameters run over them"
    if group.multiple > 1:
        said += f"\n{group.multiple} physical channels each"
    if group.approximate:
        said += f"\napproximate: {group.approximate}"
    name = ("≈ " if group.approximate else "") + clip(group.name, _NAME_LETTERS)
    return (
        f"<g><title>{say(said)}</title>{badge(number, 0, y - 3.5)}"
        f"{text(_NAME_AT, y, name, 'name')}{text(_CHANNELS_AT, y, str(group.size), 'number right')}"
        f"{text(LEGEND_WIDTH, y, share, 'number right')}</g>"
    )
