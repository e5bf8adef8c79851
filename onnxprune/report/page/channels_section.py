"""Channels that stay, group by group; many groups are folded by the modules that their names begin with."""

from __future__ import annotations

import re
from collections.abc import Sequence

from onnxprune.report.page import numbers
from onnxprune.report.page.bars import share_bar
from onnxprune.report.page.markup import Content, Markup, join, tag
from onnxprune.report.page.section import Section, folded, listing, paragraphs, table
from onnxprune.report.schema import GroupRecord, Report

__all__ = ["by_module", "channels_section"]

_FEW, _MOST_PARTS, _RUN, _PRINTED = 40, 60, 50, 300
_PARTS = re.compile(r"[/.]")


def channels_section(report: Report) -> Section | None:
    """Returns the section; None where a run has no groups."""
    groups = report.groups
    if not groups:
        return None
    kept, size = sum(g.kept for g in groups), sum(g.size for g in groups)
    whole = sum(g.kept == g.size for g in groups)
    said = f"{kept:,} of {size:,} channels stay in {_groups(len(groups))}"
    said += f"; {whole:,} lose{'s' if whole == 1 else ''} none." if whole else "."
    parts: list[Markup | None] = [paragraphs(said), _filter(groups)]
    if len(groups) <= _FEW:
        parts.append(_table("Channels kept", groups, loud=False))
    else:
        parts += [_module(name, found, long=len(groups) > _PRINTED) for name, found in by_module(groups)]
    approximate = {g.name: g.approximate for g in groups if g.approximate}
    if approximate:
        told = listing(f"{name}: {why}" for name, why in approximate.items())
        parts.append(folded(f"≈ Removal is an approximation in {_groups(len(approximate))}", told))
    return Section("channels", "Channels kept", join(parts))


def by_module(groups: Sequence[GroupRecord]) -> list[tuple[str, list[GroupRecord]]]:
    """Returns groups by the parts that their names begin with, in order.

    As many parts are taken as it needs to tell some modules apart, and not more than make sixty modules; names
    without parts are counted off.
    """
    best: dict[str, list[GroupRecord]] = {}
    for depth in range(1, 6):
        found: dict[str, list[GroupRecord]] = {}
        for group in groups:
            found.setdefault(_beginning(group.name, depth), []).append(group)
        if len(found) > _MOST_PARTS:
            break
        best = found
        if max(map(len, found.values())) <= _FEW:
            break
    if len(best) < 2:
        runs = range(0, len(groups), _RUN)
        return [(f"groups {i + 1}–{min(i + _RUN, len(groups))}", list(groups[i : i + _RUN])) for i in runs]
    return list(best.items())


def _beginning(name: str, depth: int) -> str:
    parts = [part for part in _PARTS.split(name) if part]
    return " / ".join(parts[: min(depth, len(parts) - 1)]) or "others"


def _groups(count: int) -> str:
    return f"{count:,} group{'' if count == 1 else 's'}"


def _filter(groups: Sequence[GroupRecord]) -> Markup | None:
    """Returns the field that the script shows; without the script there is nothing to be filtered by."""
    if len(groups) < 12:
        return None
    field = tag("input", type="search", id="channels-filter", autocomplete="off", placeholder="part of a name")
    said = tag("output", for_="channels-filter", aria_live="polite")
    return tag("p", tag("label", "Show groups named ", field), " ", said, class_="filter", hidden=True)


def _module(name: str, groups: Sequence[GroupRecord], *, long: bool) -> Markup:
    kept, size = sum(g.kept for g in groups), sum(g.size for g in groups)
    summary = join(
        (
            tag("span", name, class_="name"),
            " ",
            share_bar(kept / size if size else 0.0, f"{kept} of {size} channels kept"),
            " ",
            tag("span", f"{kept:,} of {size:,} in {_groups(len(groups))}", class_="count"),
        )
    )
    return folded(summary, _table(f"Channels kept in {name}", groups, loud=False), long=long)


def _table(caption: str, groups: Sequence[GroupRecord], *, loud: bool) -> Markup:
    rows: list[tuple[Content, ...]] = []
    for g in groups:
        part = g.kept / g.size if g.size else 0.0
        rows.append(
            (
                f"≈ {g.name}" if g.approximate else g.name,
                share_bar(part, f"{g.kept} of {g.size} channels kept"),
                f"{g.kept} of {g.size}",
                f"{part:.0%}".replace("%", f"{numbers.NBSP}%"),
                "–" if g.alignment is None else str(g.alignment),
                numbers.percent(g.macs_share),
            )
        )
    head = ("group", "", "kept", "share", "multiple of", "MACs through it")
    return table(caption, head, rows, words=(1,), kind="rows kept named sortable", loud=loud)
