"""Axes: from values to places, and ticks at round numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Scale", "fitting", "powers", "steps"]

_TINY = 1e-200
_NICE = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Scale:
    """One axis of a drawing.

    Attributes:
        low: Value at `start`.
        high: Value at `end`.
        start: Place of the lowest value, in units of the drawing.
        end: Place of the highest.
        ticks: Values that are marked.
        logarithmic: Whether equal ratios take equal room.
    """

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Returns where a value lies; values outside lie on the edge."""
        value = min(max(value, self.low), self.high)
        if self.high == self.low:
            return self.start
        if self.logarithmic:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def names(self) -> tuple[str, ...]:
        """Returns the ticks as text, all with as many decimals as the finest needs."""
        biggest = max((abs(tick) for tick in self.ticks), default=0.0)
        if biggest >= 1e5 or 0 < biggest < 1e-3 or self.logarithmic:
            return tuple(f"{tick:g}" for tick in self.ticks)
        needed = next((d for d in range(7) if all(abs(tick - round(tick, d)) < 1e-9 for tick in self.ticks)), 7)
        return tuple(f"{tick:.{needed}f}" for tick in self.ticks)


def fitting(values: Iterable[float], start: float, end: float, *, count: int = 4, zero: bool = True) -> Scale:
    """Returns an axis that holds all values, with ticks at round numbers and, where asked, with zero.

    Args:
        values: What it must hold.
        start: Place of the lowest value.
        end: Place of the highest.
        count: Ticks beyond the first, about.
        zero: Whether it begins at zero.
    """
    found = list(values) or [0.0, 1.0]
    low, high = min(found), max(found)
    low = min(low, 0.0) if zero else low
    if high - low <= max(1e-9 * max(abs(high), abs(low)), _TINY):
        room = abs(high) / 10 if abs(high) > _TINY else 1.0
        low, high = (low, high + room) if zero else (low - room, high + room)
    step = _step((high - low) / count)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(round(i * step, 12) for i in range(first, last + 1))
    return Scale(ticks[0], ticks[-1], start, end, ticks)


def steps(first: int, last: int, start: float, end: float, *, count: int = 6) -> Scale:
    """Returns an axis of whole numbers from `first` to `last`, about `count` of them marked, the ends among them."""
    if last <= first:
        # a single step stands in the middle
        return Scale(first - 1, first + 1, start, end, (float(first),))
    step = max(1, int(_step((last - first) / count)))
    ticks = [float(i) for i in range(first, last + 1) if i % step == 0]
    ends = [float(first), *(tick for tick in ticks if first + step / 2 < tick < last - step / 2), float(last)]
    return Scale(first, last, start, end, tuple(ends))


def powers(values: Sequence[float], start: float, end: float) -> Scale:
    """Returns a logarithmic axis whose ticks are the values themselves, such as batch sizes; all are positive."""
    ticks = tuple(sorted(set(values)))
    if len(ticks) == 1:
        return Scale(ticks[0] / 2, ticks[0] * 2, start, end, ticks, logarithmic=True)
    return Scale(ticks[0], ticks[-1], start, end, ticks, logarithmic=True)


def _step(rough: float) -> float:
    """Returns the smallest round number that is no less than `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(nice * power for nice in _NICE if nice * power >= rough * (1 - 1e-9))
