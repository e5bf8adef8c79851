"""Latencies as strips: the middle half as a box, most of the rest as a line, the median as a stroke."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnxprune.report.page.markup import Markup, tag
from onnxprune.report.page.numbers import time_us
from onnxprune.report.page.plot import RIGHT, WIDTH, figure, label, svg, thinned
from onnxprune.report.page.scale import Scale, fitting
from onnxprune.report.schema import LatencyRecord, LatencyReport

__all__ = ["interval_chart", "latency_strips"]

_ROW, _FIRST, _CLIP = 46.0, 42.0, 3.0
_UNITS = ((1e6, "s"), (1e3, "ms"), (1.0, "µs"))


@dataclass(frozen=True)
class _Strip:
    """Five places of a distribution, in microseconds; the box is missing where its ends were not recorded."""

    low: float
    box: tuple[float, float] | None
    middle: float
    high: float


def latency_strips(latency: LatencyReport) -> Markup | None:
    """Returns the distribution of times of a run before and after; None where no median was recorded."""
    found = [(name, kind, _strip(record)) for name, kind, record in _records(latency)]
    strips = [(name, kind, strip) for name, kind, strip in found if strip is not None]
    if not strips:
        return None
    # one run in twenty that waited for another program must not squeeze all others into a corner
    most = _CLIP * max(strip.box[1] if strip.box else strip.middle for _, _, strip in strips)
    end = min(most, max(strip.high for _, _, strip in strips))
    scale = next((size, name) for size, name in _UNITS if end >= size or size == 1.0)
    axis = fitting([strip.low / scale[0] for *_, strip in strips] + [end / scale[0]], 12.0, RIGHT, count=5)
    bottom = _FIRST + _ROW * len(strips) - 8
    parts = _axis(axis, bottom, f"time of a run, {scale[1]}")
    for place, (name, kind, strip) in enumerate(strips):
        parts += _draw(name, kind, strip, axis, scale[0], _FIRST + _ROW * place)
    said = "Time of a run. " + " ".join(_said(name, strip) for name, _, strip in strips)
    boxes = "Box: the middle half. " if any(strip.box for *_, strip in strips) else ""
    lines = "Line: 5 % to 95 %." if boxes else "Line: to 95 %."
    return figure(
        "Time of a run", svg(parts, said, height=bottom + 38), under=f"Upright stroke: median. {boxes}{lines}"
    )


def interval_chart(rows: Sequence[tuple[str, LatencyReport]]) -> Markup | None:
    """Returns ratios of latencies with their 95 % intervals against 1; None where no ratio was found."""
    known = [(name, r.ratio, r.ratio_low, r.ratio_high) for name, r in rows if r.ratio is not None]
    if not known:
        return None
    values = [v for _, *numbers in known for v in numbers if v is not None]
    axis = fitting([*values, 1.0], 12.0, RIGHT, count=5)
    bottom = _FIRST + 34.0 * len(known) - 8
    parts = _axis(axis, bottom, "time over the original's time")
    one = axis.place(1.0)
    parts += [
        tag("line", x1=one, y1=20, x2=one, y2=bottom, class_="mark"),
        label(one, 14, "as the original", "tick", "end" if one > WIDTH * 0.72 else "middle"),
    ]
    said = []
    for place, (name, middle, low, high) in enumerate(known):
        y = _FIRST + 34.0 * place + 10
        ends = "" if low is None or high is None else f", {low:.2f} to {high:.2f} in 95 % of resamples"
        said.append(f"{name}: {middle:.2f}{ends}.")
        parts.append(label(12, y - 9, f"{name} ×{middle:.2f}", "name", "start"))
        if low is not None and high is not None:
            parts.append(tag("line", x1=axis.place(low), y1=y, x2=axis.place(high), y2=y, class_="stroke after thick"))
        parts.append(tag("circle", cx=axis.place(middle), cy=y, r=4, class_="dot after"))
    drawing = svg(parts, "Ratio of latencies. " + " ".join(said), height=bottom + 38)
    return figure(
        "After over before",
        drawing,
        under="Dot: ratio of the lower quartiles, runs that nothing disturbed. Line: its 95 % interval.",
    )


def _records(latency: LatencyReport) -> tuple[tuple[str, str, LatencyRecord], ...]:
    return ("before", "before", latency.before), ("after", "after", latency.after)


def _strip(record: LatencyRecord) -> _Strip | None:
    if record.p50_us is None:
        return None
    at = [value for value in record.quantiles_us if value is not None]
    if len(at) == 19:  # 5 %, 10 %, …, 95 %
        return _Strip(at[0], (at[4], at[14]), record.p50_us, at[18])
    return _Strip(record.p50_us, None, record.p50_us, record.p95_us or record.p90_us or record.p50_us)


def _axis(axis: Scale, bottom: float, name: str) -> list[Markup]:
    places = [axis.place(value) for value in axis.ticks]
    parts = [tag("line", x1=x, y1=20, x2=x, y2=bottom, class_="grid") for x in places]
    parts += [label(x, bottom + 15, text) for text, x in thinned(axis.names(), places)]
    parts.append(label(RIGHT, bottom + 32, name, "axis", "end"))
    return parts


def _draw(name: str, kind: str, strip: _Strip, axis: Scale, unit: float, top: float) -> list[Markup]:
    y = top + 12
    low, middle, high = (axis.place(value / unit) for value in (strip.low, strip.middle, strip.high))
    parts = [label(12, top - 4, f"{name}, median {time_us(strip.middle)}", "name", "start")]
    parts.append(tag("line", x1=low, y1=y, x2=high, y2=y, class_=f"stroke {kind}"))
    if strip.high / unit > axis.high:
        parts.append(
            tag(
                "path",
                d=f"M{high - 6:.1f} {y - 4:.1f}L{high:.1f} {y:.1f}L{high - 6:.1f} {y + 4:.1f}",
                class_=f"stroke {kind}",
            )
        )
        parts.append(label(high - 10, y - 6, f"95 %: {time_us(strip.high)}", "tick", "end"))
    else:
        parts.append(tag("line", x1=high, y1=y - 4, x2=high, y2=y + 4, class_=f"stroke {kind}"))
    if strip.box is not None:
        left, right = (axis.place(value / unit) for value in strip.box)
        parts.append(tag("rect", x=left, y=y - 8, width=max(right - left, 1.5), height=16, class_=f"box {kind}"))
    parts.append(tag("line", x1=middle, y1=y - 10, x2=middle, y2=y + 10, class_="median"))
    return parts


def _said(name: str, strip: _Strip) -> str:
    box = f", the middle half {time_us(strip.box[0])} to {time_us(strip.box[1])}" if strip.box else ""
    return f"{name}: median {time_us(strip.middle)}{box}, 95 % of runs take at most {time_us(strip.high)}."
