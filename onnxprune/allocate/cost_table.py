"""Costs of many candidate allocations, fast.

The polynomials of all resources share one table of monomials,

    cost[r] = Σ_t W[r, t] · Π_d n[index[t, d]],

so one pass over the table gives every resource. For "what if group g alone moved from n_g to
m_g", each monomial that holds g with power p changes by the factor (m_g / n_g)^p; all groups
are answered from one pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from onnxprune.axes import Poly

__all__ = ["CostTable", "Counts", "Floats"]

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


class CostTable:
    """Evaluates the costs of kept counts.

    Args:
        names: Name of each entry of a vector of counts.
        costs: Resource → polynomial in `names`.

    Attributes:
        resources: Resource of each row of a result.
    """

    def __init__(self, names: Sequence[str], costs: Mapping[str, Poly]) -> None:
        self.resources = tuple(costs)
        keys = sorted({key for poly in costs.values() for key in poly.terms})
        slot = {name: i for i, name in enumerate(names)}
        degree = max((len(key) for key in keys), default=0)
        # slot len(names) holds the number one and pads short monomials
        self._index = np.full((len(keys), max(degree, 1)), len(names), dtype=np.intp)
        for row, key in enumerate(keys):
            self._index[row, : len(key)] = [slot[name] for name in key]
        self._weight = np.array([[poly.terms.get(key, 0.0) for key in keys] for poly in costs.values()])
        self._weight = self._weight.reshape(len(self.resources), len(keys))
        uses = [(row, slot[name], key.count(name)) for row, key in enumerate(keys) for name in sorted(set(key))]
        self._row, self._group, self._power = np.array(uses, dtype=np.intp).reshape(-1, 3).T
        self._high = np.flatnonzero(self._power != 1)

    def _monomials(self, counts: Counts | Floats) -> Floats:
        padded = np.append(counts.astype(np.float64), 1.0)
        values: Floats = padded[self._index[:, 0]]
        for column in range(1, self._index.shape[1]):
            values = values * padded[self._index[:, column]]
        return values

    def cost(self, counts: Counts | Floats) -> Floats:
        """Returns the cost of whole or fractional `counts`, [groups], per resource: float64 [resources]."""
        result: Floats = self._weight @ self._monomials(counts)
        return result

    def slopes_of(self, counts: Floats) -> Floats:
        """Returns the derivative of each cost by each count: float64 [resources, groups].

        Args:
            counts: Fractional counts, float64 [groups], above zero.
        """
        each = self._monomials(counts)[self._row] * self._power / counts[self._group]
        terms = self._weight[:, self._row] * each
        return np.array([np.bincount(self._group, weights=row, minlength=len(counts)) for row in terms]).reshape(
            len(self.resources), len(counts)
        )

    def alone(self, counts: Counts, targets: Counts) -> Floats:
        """Returns the costs if one group alone moved to its target: float64 [resources, groups].

        Exact up to rounding; `cost` is the judge where a limit is met to the last digit.

        Args:
            counts: Where all groups are, int64 [groups], at least 1.
            targets: Where each group would go, int64 [groups].
        """
        values = self._monomials(counts)
        factor = (targets / counts)[self._group]
        factor[self._high] **= self._power[self._high]
        factor -= 1.0
        change = self._weight[:, self._row] * (values[self._row] * factor)
        moved = [np.bincount(self._group, weights=row, minlength=len(counts)) for row in change]
        result: Floats = (self._weight @ values)[:, None] + np.array(moved).reshape(len(self.resources), len(counts))
        return result
