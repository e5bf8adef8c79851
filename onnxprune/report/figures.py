"""Figures as people read them."""

from __future__ import annotations

__all__ = ["bytes_text", "count_text", "duration_text", "percent_text", "ratio_text"]

_COUNTS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_BYTES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_MICROSECONDS = ((1e6, "s"), (1e3, "ms"))


def count_text(value: float | None) -> str:
    """Returns a count with three digits: "40.8 M"; "–" for None, as all functions here."""
    return _scaled(value, _COUNTS, "")


def bytes_text(value: float | None) -> str:
    """Returns a size in powers of 1000: "1.12 MB"."""
    return _scaled(value, _BYTES, "B")


def duration_text(value_us: float | None) -> str:
    """Returns microseconds in a fitting unit: "1.24 ms"."""
    return _scaled(value_us, _MICROSECONDS, "us")


def percent_text(share: float | None) -> str:
    """Returns a share as per cent with one decimal: "86.6 %"."""
    return "–" if share is None else f"{share * 100:.1f} %"


def ratio_text(after: float | None, before: float | None) -> str:
    """Returns after over before: "0.40"; "–" where there is no ratio."""
    return "–" if after is None or not before else f"{after / before:.2f}"


def _scaled(value: float | None, scales: tuple[tuple[float, str], ...], unit: str) -> str:
    if value is None:
        return "–"
    for scale, name in scales:
        # Rounded to three digits, 999 600 reads 1 M and not 1000 k.
        if float(f"{abs(value):.3g}") >= scale:
            return f"{_digits(value / scale)} {name}"
    return f"{_digits(value)} {unit}".rstrip()


def _digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 99.95 or value == int(value) else f"{value:.3g}"
