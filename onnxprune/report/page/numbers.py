"""Figures of the page: those of `onnxprune.report.figures`, which never break between number and unit."""

from __future__ import annotations

import math
from collections.abc import Callable

from onnxprune.report import figures

__all__ = ["NBSP", "Text", "bytes_", "count", "gain", "percent", "plain", "points", "ratio", "seconds", "time_us"]

NBSP = "\N{NO-BREAK SPACE}"
Text = Callable[[float | None], str]


def _tight(text: str) -> str:
    return text.replace(" ", NBSP)


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def count(value: float | None) -> str:
    """Returns a count with three digits: "40.8 M"; "–" where there is no number, as all functions here."""
    return _tight(figures.count_text(_known(value)))


def bytes_(value: float | None) -> str:
    """Returns a size in powers of 1000: "1.12 MB"."""
    return _tight(figures.bytes_text(_known(value)))


def time_us(value: float | None) -> str:
    """Returns microseconds in a fitting unit: "104 µs", "1.24 ms"."""
    return _tight(figures.duration_text(_known(value))).replace("us", "µs")


def seconds(value: float | None) -> str:
    """Returns seconds in a fitting unit: "85 ms", "12.4 s", "3 min 20 s", "2 h 5 min"."""
    if value is None or not 120 <= value < math.inf:
        return time_us(None if value is None else value * 1e6)
    if value < 7200:
        return f"{int(value // 60)}{NBSP}min{NBSP}{int(value % 60)}{NBSP}s"
    return f"{int(value // 3600)}{NBSP}h{NBSP}{int(value % 3600 // 60)}{NBSP}min"


def percent(share: float | None) -> str:
    """Returns a share as per cent with one decimal: "86.6 %"."""
    return _tight(figures.percent_text(_known(share)))


def points(before: float | None, after: float | None) -> str:
    """Returns the change of a share in percentage points: "−0.4 points"."""
    if before is None or after is None:
        return "–"
    change = round((after - before) * 100, 1)
    return f"{_signed(change, '.1f')}{NBSP}points"


def gain(before: float | None, after: float | None) -> str:
    """Returns the change of a figure that is no share: "−0.0123"."""
    return "–" if before is None or after is None else _signed(after - before, ".4g")


def ratio(after: float | None, before: float | None = 1.0) -> str:
    """Returns after over before: "×0.40"."""
    over = _known(after / before) if after is not None and before else None
    return "–" if over is None else f"×{over:.2f}"


def plain(value: float | None, digits: int = 4) -> str:
    """Returns a number with at most so many digits that count: "0.0514"."""
    if _known(value) is None:
        return "–"
    return f"{value:.{digits}g}".replace("-", "\N{MINUS SIGN}")


def _signed(change: float, form: str) -> str:
    if change == 0:
        return "±0"
    return f"{'+' if change > 0 else chr(0x2212)}{abs(change):{form}}"
