"""The nearest keep ratios that hold every budget.

    minimise ½ ‖z − v‖²   subject to   F_r(z) ≤ 1 for every limited resource r,   lo ≤ z ≤ 1

with F_r(z) the cost of z · size channels over its limit. F_r is a polynomial, not convex in general,
so this finds a stationary point, by successive linearisation: with F_r replaced by its tangent at
z_t, the problem is a projection onto half-spaces within a box, whose dual has one multiplier
λ_r ≥ 0 for each resource,

    z(λ) = clip(v − Σ_r λ_r ∇F_r(z_t), lo, 1),

and is climbed one multiplier at a time. (The paper's text of the projection is not public; this is
the standard form. See also Boyd et al., "Distributed Optimization … via ADMM", 2011, section 5.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onnxprune.allocate.cost_table import CostTable

__all__ = ["Budgets"]

Floats = NDArray[np.float64]

_LINEARISATIONS = 50
_SWEEPS = 20
_BISECTIONS = 60
_CLOSE = 1e-9


class Budgets:
    """What keep ratios cost, in units of what is allowed.

    Args:
        table: Costs of kept counts, one row for each limited resource.
        sizes: Channels of each group, int64 [groups].
        limits: Upper bound on each resource: float64 [resources].

    Attributes:
        resources: Their names.
    """

    def __init__(self, table: CostTable, sizes: NDArray[np.int64], limits: Floats) -> None:
        self.resources = table.resources
        self._table, self._sizes, self._limits = table, sizes.astype(np.float64), limits

    def used(self, ratios: Floats) -> Floats:
        """Returns the share of each limit that keep ratios, float64 [groups], use: float64 [resources]."""
        result: Floats = self._table.cost(ratios * self._sizes) / self._limits
        return result

    def slopes(self, ratios: Floats) -> Floats:
        """Returns the derivative of `used` by each ratio: float64 [resources, groups]."""
        result: Floats = self._table.slopes_of(ratios * self._sizes) * self._sizes / self._limits[:, None]
        return result

    def nearest(self, wanted: Floats, lowest: Floats, scale: float = 1.0) -> Floats:
        """Returns the ratios nearest to `wanted` that use at most `scale` of every limit.

        Where even `lowest` uses more, `lowest` is returned.

        Args:
            wanted: float64 [groups].
            lowest: Lower bound of each ratio, float64 [groups], in (0, 1].
            scale: Share of the limits.
        """
        z = np.clip(wanted, lowest, 1.0)
        if (self.used(z) <= scale).all():
            return z
        if (self.used(lowest) > scale).any():
            return lowest.copy()
        # the uniform way down is feasible, and a good first place for the tangents
        z = self._feasible(z, lowest, scale)
        for _ in range(_LINEARISATIONS):
            slopes = self.slopes(z)
            room = scale - self.used(z) + slopes @ z
            new = _onto_halfspaces(wanted, slopes, room, lowest)
            new = self._feasible(new, lowest, scale)
            moved = float(np.abs(new - z).max())
            z = new
            if moved < _CLOSE:
                break
        return z

    def _feasible(self, ratios: Floats, lowest: Floats, scale: float) -> Floats:
        """Returns ratios drawn towards the lowest as far as it takes to hold all limits."""
        if (self.used(ratios) <= scale).all():
            return ratios
        low, high = 0.0, 1.0
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            held = bool((self.used(lowest + middle * (ratios - lowest)) <= scale).all())
            low, high = (middle, high) if held else (low, middle)
        result: Floats = lowest + low * (ratios - lowest)
        return result


def _onto_halfspaces(wanted: Floats, slopes: Floats, room: Floats, lowest: Floats) -> Floats:
    """Returns the point of {slopes z ≤ room, lowest ≤ z ≤ 1} nearest to `wanted`, by dual coordinate ascent."""
    multipliers = np.zeros(len(room))
    for _ in range(_SWEEPS if len(room) > 1 else 1):
        before = multipliers.copy()
        for index in range(len(room)):
            multipliers[index] = 0.0
            others = wanted - multipliers @ slopes
            multipliers[index] = _multiplier(others, slopes[index], float(room[index]), lowest)
        if np.allclose(before, multipliers, rtol=1e-10, atol=0.0):
            break
    result: Floats = np.clip(wanted - multipliers @ slopes, lowest, 1.0)
    return result


def _multiplier(wanted: Floats, slope: Floats, room: float, lowest: Floats) -> float:
    """Returns the least λ ≥ 0 with slope · clip(wanted − λ slope, lowest, 1) ≤ room; that is linear between kinks."""
    sloped = slope > 0
    wanted, slope, lowest = wanted[sloped], slope[sloped], lowest[sloped]
    kinks = np.sort(np.concatenate(([0.0], (wanted - 1) / slope, (wanted - lowest) / slope)))
    kinks = kinks[kinks >= 0]
    spent = np.clip(wanted - kinks[:, None] * slope, lowest, 1.0) @ slope
    over = np.flatnonzero(spent > room)
    if len(over) == 0:
        return 0.0
    last = int(over[-1])
    if last == len(kinks) - 1:
        return float(kinks[-1])  # all are at their lowest
    fall = spent[last] - spent[last + 1]
    return float(kinks[last] + (kinks[last + 1] - kinks[last]) * (spent[last] - room) / fall)
