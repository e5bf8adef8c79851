"""Figures for people: 40.8 M MACs, 1.1 MB, 39.6 %."""

from __future__ import annotations

__all__ = ["human_cost", "human_number", "percent"]

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_UNITS = {"flops": "MACs", "params": "parameters"}
_TIMES = ((1e6, "s"), (1e3, "ms"))


def _digits(value: float) -> str:
    """Three significant digits, trailing zeros kept, without an exponent."""
    decimals = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{decimals}f}"


def human_number(value: float) -> str:
    """Returns `value` to three digits with an SI prefix: "40.8 M", "274 k", "12"."""
    for scale, prefix in _PREFIXES:
        if abs(value) >= 0.9995 * scale:
            return f"{_digits(value / scale)} {prefix}"
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.3g}"


def human_cost(resource: str, value: float) -> str:
    """Returns `value` with the unit of its resource: "40.8 M MACs", "1.10 MB", "3.20 ms".

    Args:
        resource: One of `onnxprune.core.budget.RESOURCES`, or "memory at NODE".
        value: In MACs, parameters, bytes or microseconds.
    """
    if resource == "size" or resource.startswith("memory"):
        number = human_number(value)
        return f"{number}B" if number[-1].isalpha() else f"{number} B"
    if resource == "latency":
        for scale, unit in _TIMES:
            if value >= scale:
                return f"{_digits(value / scale)} {unit}"
        return f"{_digits(value)} us"
    return f"{human_number(value)} {_UNITS.get(resource, resource)}"


def percent(share: float) -> str:
    """Returns a share to three digits: "39.6 %", "0.412 %"."""
    return f"{100 * share:.3g} %"
