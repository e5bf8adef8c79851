"""Latency: how times of runs are spread before and after, and how they compare at other batch sizes."""

from __future__ import annotations

from collections.abc import Sequence

from onnxprune.report.page import numbers
from onnxprune.report.page.line_chart import Line, line_chart
from onnxprune.report.page.markup import Markup, join
from onnxprune.report.page.section import Section, charts, paragraphs, table
from onnxprune.report.page.strips import interval_chart, latency_strips
from onnxprune.report.schema import LatencyReport, Report
from onnxprune.report.status import conditions

__all__ = ["latency_section"]


def latency_section(report: Report) -> Section | None:
    """Returns the section; None where nothing was timed."""
    latency = report.latency
    sweep = sorted((r for r in report.latency_by_batch if r.batch > 0), key=lambda record: record.batch)
    if latency is None and not sweep:
        return None
    parts: list[Markup | None] = []
    if latency is not None:
        parts.append(paragraphs(f"{_conditions(latency)}, the two models turn by turn in one process."))
        rows = [(f"batch {record.batch}", record) for record in sweep] or [("this run", latency)]
        parts.append(charts(latency_strips(latency), interval_chart(rows)))
    if sweep:
        parts += [charts(_by_batch(sweep)), _sweep_table(sweep)]
        if any(record.noisy for record in sweep):
            parts.append(
                paragraphs("Noisy: other load disturbed the measurement; its figures say little.", kind="under")
            )
    else:
        parts.append(paragraphs("Other batch sizes: not measured (--batches).", kind="under"))
    return Section("latency", "Latency", join(parts))


def _conditions(latency: LatencyReport) -> str:
    words, sessions, more = conditions(latency).partition(" in ")
    return f"{words} samples{sessions}{more}"


def _by_batch(sweep: Sequence[LatencyReport]) -> Markup | None:
    before = [(r.batch, r.before.p50_us / r.batch) for r in sweep if r.before.p50_us is not None]
    after = [(r.batch, r.after.p50_us / r.batch) for r in sweep if r.after.p50_us is not None]
    longest = max((time for _, time in (*before, *after)), default=0.0)
    size, unit = (1e3, "ms") if longest >= 2e3 else (1.0, "µs")
    return line_chart(
        "Time of a sample by batch size",
        [
            Line(name, tuple((batch, time / size) for batch, time in points), name)
            for name, points in (("before", before), ("after", after))
        ],
        x_name="batch size",
        y_name=f"time of a sample, {unit} (median)",
        doubling=True,
    )


def _sweep_table(sweep: Sequence[LatencyReport]) -> Markup:
    rows = []
    for record in sweep:
        ends = "–"
        if record.ratio_low is not None and record.ratio_high is not None:
            ends = f"{record.ratio_low:.2f}–{record.ratio_high:.2f}"
        rows.append(
            (
                str(record.batch),
                numbers.time_us(record.before.p50_us),
                numbers.time_us(record.after.p50_us),
                numbers.ratio(record.ratio),
                ends,
                str(record.after.n),
                "noisy" if record.noisy else "",
            )
        )
    head = ("batch", "before", "after", "ratio", "95 % interval", "samples", "")
    return table("Latency by batch size, medians", head, rows, words=(6,))
