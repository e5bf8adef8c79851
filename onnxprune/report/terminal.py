"""The report as tables for the terminal. Nothing here prints.

Names of nodes and tensors may hold brackets, which rich reads as markup: every cell is a Text.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from onnxprune.report.figures import bytes_text, count_text, duration_text, percent_text, ratio_text
from onnxprune.report.gates import found_text, margin
from onnxprune.report.reasons import condensed
from onnxprune.report.remarks import remarks
from onnxprune.report.schema import (
    BudgetRecord,
    Cost,
    Curve,
    FrozenRecord,
    GateRecord,
    GroupRecord,
    LatencyRecord,
    Report,
    TileRecord,
)
from onnxprune.report.status import best_dense, status_lines

__all__ = ["curve_table", "frozen_table", "gates_table", "groups_table", "render", "summary_table", "tiles_table"]

_FOLD = 12
_FOLD_NAMES = 3


def render(report: Report, *, verbose: bool = False) -> RenderableType:
    """Returns everything the terminal shows of `report`.

    Args:
        report: The report.
        verbose: Whether long lists are shown in full.
    """
    parts: list[RenderableType] = []
    if report.before is not None or report.after is not None or report.latency is not None:
        parts.append(summary_table(report))
    parts += [Text(line) for line in status_lines(report)]
    if report.gates:
        parts.append(gates_table(report.gates))
    if any(g.kept < g.size for g in report.groups) or (report.groups and not report.tiles):
        parts.append(groups_table(report.groups, verbose=verbose))
    if report.tiles:
        parts.append(tiles_table(report.tiles, verbose=verbose))
    if report.frozen:
        parts.append(frozen_table(report.frozen, verbose=verbose))
    parts += [Text.assemble(("! ", "bold yellow"), sentence) for sentence in remarks(report)]
    parts += [Text(note, style="dim") for note in report.notes]
    return Group(*parts)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=Text(title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(columns[0], overflow="fold")
    for column in columns[1:]:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _add(table: Table, *cells: str, style: str = "") -> None:
    table.add_row(*(Text(cell) for cell in cells), style=style)


def curve_table(curve: Curve) -> Table:
    """Returns one row per point: budgets, what is left, latency, accuracy."""
    table = _table("Curve", "model", "budget", "MACs", "parameters", "latency", "accuracy")
    for point in curve.points:
        before, after = point.before or Cost(), point.after or Cost()
        latency, found = point.latency, point.evaluation
        accuracy = "–"
        if found is not None and found.after.top1 is not None:
            accuracy = f"{percent_text(found.before.top1)} → {percent_text(found.after.top1)}"
        elif found is not None and found.agreement is not None:
            accuracy = f"{percent_text(found.agreement)} agree"
        time = "–"
        if latency is not None and latency.ratio is not None:
            time = f"×{latency.ratio:.2f} ({latency.ratio_low or 0:.2f}–{latency.ratio_high or 0:.2f})"
        _add(
            table,
            point.file,
            ", ".join(_budget(record) for record in point.budgets),
            ratio_text(after.macs, before.macs),
            ratio_text(after.params, before.params),
            time,
            accuracy,
        )
    return table


def _budget(record: BudgetRecord) -> str:
    return record.asked


def summary_table(report: Report) -> Table:
    """Returns MACs, parameters, file size, latency and accuracy before and after."""
    table = _table("Before and after", "", "before", "after", "after/before")
    before, after = report.before, report.after
    if before is not None and after is not None:
        for name, text, old, new in (
            ("MACs per sample", count_text, before.macs, after.macs),
            ("parameters", count_text, before.params, after.params),
            ("file size", bytes_text, before.file_bytes, after.file_bytes),
        ):
            _add(table, name, text(old), text(new), ratio_text(new, old))
    if report.latency is not None:
        latency = report.latency
        ratio = ratio_text(latency.ratio, 1.0)
        _add(table, "latency p50 [p95]", _latency(latency.before), _latency(latency.after), ratio)
        if latency.dense is not None:
            form, form_us = best_dense(latency, latency.dense)
            times = duration_text(form_us), duration_text(latency.after.p50_us)
            _add(table, f"p50, best dense form ({form})", *times, ratio_text(latency.dense.ratio, 1.0))
    if report.evaluation is not None:
        old_accuracy, new_accuracy = report.evaluation.before, report.evaluation.after
        for name, share, new_share in (
            ("top-1 accuracy", old_accuracy.top1, new_accuracy.top1),
            ("top-5 accuracy", old_accuracy.top5, new_accuracy.top5),
        ):
            if new_share is not None:
                _add(table, name, percent_text(share), percent_text(new_share), _points(share, new_share))
        old, new = old_accuracy.custom, new_accuracy.custom
        if old is not None and new is not None:
            _add(table, "your metric", f"{old:.4g}", f"{new:.4g}", f"{new - old:+.4g}")
    return table


def _latency(record: LatencyRecord) -> str:
    return f"{duration_text(record.p50_us)} [{duration_text(record.p95_us)}]"


def _points(before: float | None, after: float) -> str:
    return "–" if before is None else f"{(after - before) * 100:+.1f} points"


def groups_table(groups: Iterable[GroupRecord], *, verbose: bool = False) -> Table:
    """Returns the kept channels of each group, those with most MACs first."""
    table = _table("Channels kept", "group", "kept", "of", "share", "aligned to", "MACs run through")
    ordered = sorted(groups, key=lambda g: -(g.macs_share or 0.0))
    shown = ordered if verbose else ordered[:_FOLD]
    for g in shown:
        aligned = "–" if g.alignment is None else str(g.alignment)
        share = ratio_text(g.kept, g.size)
        _add(table, g.name, str(g.kept), str(g.size), share, aligned, percent_text(g.macs_share))
    rest = ordered[len(shown) :]
    if rest:
        kept, size = sum(g.kept for g in rest), sum(g.size for g in rest)
        _add(table, f"… and {len(rest)} more", str(kept), str(size), ratio_text(kept, size), "", "", style="dim")
    return table


def tiles_table(tiles: Iterable[TileRecord], *, verbose: bool = False) -> Table:
    """Returns how each tiled layer was cut and is computed, in graph order."""
    table = _table("Tiles kept", "layer", "blocks kept", "of", "share", "block", "computed", "time alone")
    listed = list(tiles)
    for t in listed if verbose else listed[:_FOLD]:
        block = t.pattern or f"{t.block} × {t.tile}"
        _add(table, t.node, str(t.kept), str(t.blocks), ratio_text(t.kept, t.blocks), block, t.form, _alone(t))
    rest = [] if verbose else listed[_FOLD:]
    if rest:
        kept, blocks = sum(t.kept for t in rest), sum(t.blocks for t in rest)
        share = ratio_text(kept, blocks)
        _add(table, f"… and {len(rest)} more", str(kept), str(blocks), share, "", "", "", style="dim")
    return table


def _alone(tile: TileRecord) -> str:
    """Returns a layer's time in its form over its time dense, with the interval."""
    if tile.ratio is None:
        return "–"
    if tile.ratio_low is None or tile.ratio_high is None:
        return f"×{tile.ratio:.2f}"
    return f"×{tile.ratio:.2f} ({tile.ratio_low:.2f}–{tile.ratio_high:.2f})"


def gates_table(gates: Iterable[GateRecord]) -> Table:
    """Returns each gate with what was found."""
    table = _table("Gates", "gate", "found", "")
    for gate in gates:
        _add(table, gate.gate, found_text(gate), _verdict(gate), style="" if gate.passed else "bold red")
    return table


def _verdict(gate: GateRecord) -> str:
    off = margin(gate)
    return "passed" if gate.passed else "NOT MET" if off is None else f"NOT MET, off by {off:.4g}"


def frozen_table(frozen: Iterable[FrozenRecord], *, verbose: bool = False) -> Table:
    """Returns the frozen channels by reason, the reason with most channels first."""
    by_reason: dict[str, list[FrozenRecord]] = {}
    for record in frozen:
        by_reason.setdefault(condensed(record.reasons) or "no reason was recorded", []).append(record)
    ordered = sorted(by_reason.items(), key=lambda item: -sum(r.size for r in item[1]))
    table = _table("Channels that stay, and why", "reason: where", "channels")
    shown = ordered if verbose else ordered[:_FOLD]
    for reason, records in shown:
        cell = Text(f"{reason}: ").append(_names(records, verbose), style="dim")
        table.add_row(cell, Text(str(sum(r.size for r in records))))
    rest = ordered[len(shown) :]
    if rest:
        size = sum(r.size for _, records in rest for r in records)
        _add(table, f"… and {len(rest)} more reasons", str(size), style="dim")
    return table


def _names(records: list[FrozenRecord], verbose: bool) -> str:
    names = list(dict.fromkeys(r.name for r in records))
    shown = names if verbose else names[:_FOLD_NAMES]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" … and {rest} more" if rest else "")
