"""The allocation under construction: where every group stands, and whether a move fits.

The steps built on it are made so that a larger budget never ends below a smaller one: they
depend on the limits only through the two questions "does this fit?" and "is the band reached?",
always take what fits, and stop where the band is reached. At the first question that two
budgets answer differently, the larger one therefore takes a step that costs more than the
smaller one ever may.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from onnxprune.allocate.cost_table import CostTable, Counts, Floats

__all__ = ["BAND", "Search"]

BAND = 0.98


class Search:
    """A mutable candidate that never exceeds a limit once it has been within all of them.

    Args:
        table: Costs of the limited resources.
        limits: Their upper bounds, float64 [resources].
        sizes: Group name → number of channels that may be kept.

    Attributes:
        table: Costs of the limited resources.
        sizes: int64 [groups].
        counts: Kept counts, int64 [groups]; one per group at first.
        units: Multiple that each count should have, int64 [groups].
    """

    def __init__(self, table: CostTable, limits: Floats, sizes: Mapping[str, int]) -> None:
        self.table = table
        self.sizes: Counts = np.array(list(sizes.values()), dtype=np.int64)
        self.counts: Counts = np.ones_like(self.sizes)
        self.units: Counts = np.ones_like(self.sizes)
        self._limits = limits

    def utilisation(self, counts: Counts) -> float:
        """Returns the largest share of a limit that `counts` uses; above 1 it is exceeded."""
        return float((self.table.cost(counts) / self._limits).max(initial=0.0))

    def fits(self, counts: Counts) -> bool:
        """Returns whether `counts` is within every limit."""
        return bool((self.table.cost(counts) <= self._limits).all())

    def in_band(self) -> bool:
        """Returns whether the binding limit is used well enough, or nothing is left to add."""
        return self.utilisation(self.counts) >= BAND or bool((self.counts == self.sizes).all())

    def utilisation_alone(self, counts: Counts, targets: Counts) -> Floats:
        """Returns `utilisation` if one group alone moved to its target: float64 [groups]."""
        shares: Floats = (self.table.alone(counts, targets) / self._limits[:, None]).max(axis=0, initial=0.0)
        return shares

    def jump(self, counts: Counts) -> bool:
        """Moves to `counts` if it fits; returns whether it did."""
        if not self.fits(counts):
            return False
        self.counts = counts.copy()
        return True

    def raise_to(self, group: int, count: int) -> bool:
        """Raises one group to `count` if that fits; returns whether it did."""
        before = self.counts[group]
        self.counts[group] = count
        if self.fits(self.counts):
            return True
        self.counts[group] = before
        return False
