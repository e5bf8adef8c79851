"""What the user allows the slim model to cost.

A budget is a share of the original ("0.4", "40%") or an absolute figure with a unit
("20M", "4ms", "800kB"). A bare number above 1 is refused rather than guessed at.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from onnxprune.core.errors import UsageError

__all__ = ["RESOURCES", "Budget"]

RESOURCES = ("flops", "params", "size", "memory", "latency")

_SI = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
_UNITS: dict[str, dict[str, float]] = {
    "flops": _SI,
    "params": _SI,
    "size": {"b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30},
    "memory": {"b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30},
    "latency": {"us": 1.0, "ms": 1e3, "s": 1e6},
}
_NUMBER = re.compile(r"^\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*(%|[A-Za-z]*)\s*$")


@dataclass(frozen=True)
class Budget:
    """An upper bound on one resource.

    Attributes:
        resource: One of `RESOURCES`; "flops" counts multiply-accumulates (MACs).
        value: The bound: a share of the original in (0, 1], or an absolute figure in MACs,
            parameters, bytes or microseconds.
        relative: Whether `value` is a share of the original.
    """

    resource: str
    value: float
    relative: bool = True

    @classmethod
    def parse(cls, resource: str, text: str | float) -> Budget:
        """Returns the budget that `text` asks for.

        Args:
            resource: One of `RESOURCES`.
            text: A fraction in (0, 1], a percentage, or a number with a unit.

        Raises:
            UsageError: when the text is not a budget, or asks for nothing or for more than
                the original.
        """
        if resource not in _UNITS:
            raise UsageError(f"Unknown resource {resource!r}; a budget is one of {', '.join(RESOURCES)}.")
        units = _UNITS[resource]
        form = f"a fraction in (0, 1], a percentage, or a number with a unit ({', '.join(u for u in units if u)})"
        match = _NUMBER.match(str(text))
        if match is None:
            raise UsageError(f"--{resource} {text}: not a budget. Give {form}.")
        number, unit = float(match[1]), match[2].lower()
        relative = unit in ("", "%")
        if not relative and unit not in units:
            raise UsageError(f"--{resource} {text}: unit {match[2]!r} is not known here. Give {form}.")
        value = number / 100 if unit == "%" else number * (1.0 if relative else units[unit])
        if not math.isfinite(value) or value <= 0:
            raise UsageError(f"--{resource} {text}: a budget is greater than zero. Give {form}.")
        if relative and value > 1:
            raise UsageError(
                f"--{resource} {text}: more than the original. Give {form}; "
                f"an absolute figure needs its unit, such as {number:g}M."
                if unit != "%" and "m" in units
                else f"--{resource} {text}: more than the original. Give {form}."
            )
        return cls(resource, value, relative)

    def limit(self, original: float) -> float:
        """Returns the bound in absolute units, given what the original costs."""
        return self.value * original if self.relative else self.value

    def __str__(self) -> str:
        return f"{self.resource} <= {self.value:.4g}" + (" of the original" if self.relative else "")
