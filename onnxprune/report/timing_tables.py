"""What `onnxprune bench` finds as tables for the terminal. Nothing here prints."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from onnxprune.report.figures import bytes_text, duration_text, percent_text
from onnxprune.report.timing_schema import RatioRecord, TimingPoint, TimingReport

__all__ = ["render_timing"]

_NARROWEST = 1.0


def render_timing(report: TimingReport) -> RenderableType:
    """Returns everything the terminal shows of `report`."""
    parts: list[RenderableType] = [_latencies(report), *_stands(report)]
    if any(point.best_dense for point in report.points):
        parts.append(_against_dense(report))
    if any(model.throughput for point in report.points for model in point.models):
        parts.append(_throughput(report))
    if any(model.energy is not None for point in report.points for model in point.models):
        parts.append(_energy(report))
    if report.starts:
        parts.append(_starts(report))
    if report.nodes:
        parts.append(_nodes(report))
    notes = [note for point in report.points for note in ((point.missing,) if point.missing else point.notes)]
    parts += [Text(note, style="dim") for note in dict.fromkeys((*notes, *report.notes))]
    return Group(*parts)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=Text(title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        words = column in ("where", "model", "node", "operator")
        table.add_column(column, justify="left" if words else "right", overflow="fold")
    return table


def _latencies(report: TimingReport) -> Table:
    table = _table("Latency", "where", "batch", "model", "p50", "p90", "p99", "spread", "of the first", "95 %")
    for point in report.points:
        if point.missing:
            _add(table, point.provider, "", "not measured")
        for number, model in enumerate(point.models):
            latency = model.latency
            spread = None if not latency.p50_us or latency.iqr_us is None else latency.iqr_us / latency.p50_us
            _add(
                table,
                _where(point) if not number else "",
                str(point.batch) if not number else "",
                model.name,
                duration_text(latency.p50_us),
                duration_text(latency.p90_us),
                duration_text(latency.p99_us),
                percent_text(spread),
                *_ratio(model.ratio),
            )
    return table


def _stands(report: TimingReport) -> list[Text]:
    counts = sorted({point.stands for point in report.points if point.stands})
    if not counts:
        return []
    often = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return [Text(f"Sessions made anew {often} time{'s' * (counts[-1] > 1)}.", style="dim")]


def _against_dense(report: TimingReport) -> Table:
    table = _table("Against the best dense form of the first", "where", "batch", "model", "best form", "ratio", "95 %")
    for point in report.points:
        for model in point.models:
            if model.ratio_dense is not None and not model.dense:
                ratio = _ratio(model.ratio_dense)
                _add(table, _where(point), str(point.batch), model.name, point.best_dense, *ratio)
    return table


def _energy(report: TimingReport) -> Table:
    table = _table("Energy of a run", "where", "batch", "model", "joules", "least–most", "watts")
    for point in report.points:
        for model in point.models:
            found = model.energy
            if found is not None and found.joules is not None:
                ends = f"{found.low or 0:.3g}–{found.high or 0:.3g}"
                watts = f"{found.watts or 0:.0f}"
                _add(table, _where(point), str(point.batch), model.name, f"{found.joules:.3g}", ends, watts)
    return table


def _where(point: TimingPoint) -> str:
    dims = "".join(f", {name} {size}" for name, size in point.dims.items())
    threads = "" if point.threads is None else f", {point.threads} thread{'s' * (point.threads != 1)}"
    graph = ", recorded" if point.cuda_graph else ""
    return f"{point.provider}{threads}{dims}{graph}"


def _ratio(ratio: RatioRecord | None) -> tuple[str, str]:
    if ratio is None or ratio.ratio is None:
        return "", ""
    if ratio.low is None or ratio.high is None:
        return f"{ratio.ratio:.2f}", ""
    same = " (no difference shown)" if ratio.low <= _NARROWEST <= ratio.high else ""
    return f"{ratio.ratio:.2f}", f"{ratio.low:.2f}–{ratio.high:.2f}{same}"


def _throughput(report: TimingReport) -> Table:
    table = _table("Throughput", "where", "batch", "model", "callers", "runs a second", "samples a second")
    for point in report.points:
        for model in point.models:
            for record in model.throughput:
                rate = record.runs_per_s or 0.0
                _add(
                    table,
                    _where(point),
                    str(point.batch),
                    model.name,
                    str(record.callers),
                    f"{rate:.4g}",
                    f"{rate * (point.batch or 1):.4g}",
                )
    return table


def _starts(report: TimingReport) -> Table:
    table = _table("In a fresh process", "where", "model", "load", "first run", "memory", "processes")
    for start in report.starts:
        _add(
            table,
            start.provider,
            start.name,
            duration_text(_microseconds(start.load_ms)),
            duration_text(_microseconds(start.first_run_ms)),
            bytes_text(start.memory_bytes),
            str(start.n),
        )
    return table


def _nodes(report: TimingReport) -> Table:
    table = _table("Where time goes, by node after fusion", "model", "node", "operator", "time", "share")
    for node in report.nodes:
        _add(table, node.model, node.node, node.operator, duration_text(node.us), percent_text(node.share))
    return table


def _microseconds(value_ms: float | None) -> float | None:
    return None if value_ms is None else 1e3 * value_ms


def _add(table: Table, *cells: str) -> None:
    table.add_row(*(Text(cell) for cell in cells))
