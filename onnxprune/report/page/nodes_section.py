"""Time by node: where a run spends its time before and after."""

from __future__ import annotations

from collections.abc import Sequence

from onnxprune.report.page import numbers
from onnxprune.report.page.bars import pair, share_bar
from onnxprune.report.page.markup import Content, Markup, join
from onnxprune.report.page.section import Section, folded, paragraphs, table
from onnxprune.report.schema import NodeTime, Report

__all__ = ["nodes_section"]

_FEW, _PRINTED, _MOST = 20, 100, 600


def nodes_section(report: Report) -> Section | None:
    """Returns the section; None where nodes were not timed."""
    times = report.node_times
    if times is None or not times.nodes:
        return None
    said = (
        f"Medians over {times.runs:,} profiled runs ({times.provider.removesuffix('ExecutionProvider')}, "
        f"batch {times.batch}), after onnxruntime's own fusions. Profiling takes time itself, so the sums are above "
        "the latency; shares are what to read."
    )
    ordered = sorted(times.nodes, key=lambda node: -max(node.before_us or 0.0, node.after_us or 0.0))
    parts: list[Markup | None] = [paragraphs(said), _by_operator(times.nodes)]
    parts.append(_table(f"The {_FEW} slowest nodes" if len(ordered) > _FEW else "Nodes", ordered[:_FEW]))
    if ordered[_FEW:]:
        rest = ordered[_FEW:_MOST]
        left_out = ""
        if ordered[_MOST:]:
            spent = sum(max(node.before_us or 0.0, node.after_us or 0.0) for node in ordered[_MOST:])
            left_out = f"{len(ordered) - _MOST:,} more, {numbers.time_us(spent)} together, are in report.json alone."
        shown = join((_table("Further nodes", rest), paragraphs(left_out)))
        parts.append(folded(f"{len(rest):,} more nodes", shown, long=len(rest) > _PRINTED))
    return Section("nodes", "Time by node", join(parts))


def _by_operator(nodes: Sequence[NodeTime]) -> Markup:
    totals: dict[str, tuple[float, float]] = {}
    for node in nodes:
        before, after = totals.get(node.op, (0.0, 0.0))
        totals[node.op] = before + (node.before_us or 0.0), after + (node.after_us or 0.0)
    whole, whole_after = (sum(side) for side in zip(*totals.values(), strict=True))
    rows: list[tuple[Content, ...]] = [
        (
            op,
            share_bar(after / whole_after if whole_after else 0.0, f"{op}: share of the time after"),
            numbers.time_us(before),
            numbers.time_us(after),
            numbers.percent(before / whole if whole else None),
            numbers.percent(after / whole_after if whole_after else None),
        )
        for op, (before, after) in sorted(totals.items(), key=lambda item: -item[1][1])
    ]
    head = ("operator", "share after", "before", "after", "share before", "share after")
    return table("By operator", head, rows, words=(1,), kind="sortable")


def _table(caption: str, nodes: Sequence[NodeTime]) -> Markup:
    rows: list[tuple[Content, ...]] = []
    for node in nodes:
        old, new = numbers.time_us(node.before_us), numbers.time_us(node.after_us)
        bars = pair(node.before_us, node.after_us, f"{old} before, {new} after")
        rows.append((node.name, node.op, bars, old, new, numbers.ratio(node.after_us, node.before_us)))
    head = ("node", "operator", "before and after", "before", "after", "ratio")
    return table(caption, head, rows, words=(1, 2), kind="named sortable")
