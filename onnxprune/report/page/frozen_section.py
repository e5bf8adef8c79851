"""Channels that stay because they must, by reason."""

from __future__ import annotations

from onnxprune.report.page.markup import Content, Markup, join
from onnxprune.report.page.section import Section, folded, listing, paragraphs, table
from onnxprune.report.reasons import condensed
from onnxprune.report.schema import FrozenRecord, Report

__all__ = ["frozen_section"]

_FEW_NAMES, _FEW_REASONS = 3, 30


def frozen_section(report: Report) -> Section | None:
    """Returns the section; None where nothing is frozen."""
    if not report.frozen and not report.unknown_ops:
        return None
    by_reason: dict[str, list[FrozenRecord]] = {}
    for record in report.frozen:
        by_reason.setdefault(condensed(record.reasons) or "no reason was recorded", []).append(record)
    ordered = sorted(by_reason.items(), key=lambda item: -sum(r.size for r in item[1]))
    rows = [_row(reason, records) for reason, records in ordered]
    total = sum(r.size for r in report.frozen)
    parts: list[Markup | None] = [
        paragraphs(f"{total:,} channels cannot go, for {len(rows):,} reason{'' if len(rows) == 1 else 's'}.")
    ]
    head = ("reason", "channels", "where")
    parts.append(table("Frozen channels", head, rows[:_FEW_REASONS], words=(2,), kind="sortable frozen", loud=False))
    if rows[_FEW_REASONS:]:
        rest = table("Further frozen channels", head, rows[_FEW_REASONS:], words=(2,), kind="frozen", loud=False)
        parts.append(folded(f"{len(rows) - _FEW_REASONS:,} more reasons", rest))
    if report.unknown_ops:
        counted = ", ".join(f"{op} ({count})" for op, count in sorted(report.unknown_ops.items()))
        parts.append(paragraphs(f"Operators without a rule, whose channels stay: {counted}."))
    return Section("frozen", "Channels that must stay, and why", join(parts))


def _row(reason: str, records: list[FrozenRecord]) -> tuple[Content, ...]:
    names = list(dict.fromkeys(r.name for r in records))
    where: list[Content] = [", ".join(names[:_FEW_NAMES])]
    told = list(dict.fromkeys(chain for r in records for chain in r.chains))
    members = list(dict.fromkeys(member for r in records for member in r.members))
    more: list[Content] = []
    if len(names) > _FEW_NAMES:
        where.append(f" and {len(names) - _FEW_NAMES:,} more")
        more.append(listing(names[_FEW_NAMES:]))
    if told:
        more += [paragraphs("How it gets there:"), listing(told)]
    if members:
        more.append(paragraphs(f"Weights: {', '.join(members)}"))
    if more:
        where.append(folded("more", *more))
    return reason, f"{sum(r.size for r in records):,}", join(where)
