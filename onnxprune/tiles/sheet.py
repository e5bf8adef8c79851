"""One member during the search: its saliency in both layouts, and sums that are kept until an order changes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from onnxprune.tiles.arrays import Floats, Indices
from onnxprune.tiles.axis import axis_order
from onnxprune.tiles.masking import gathering
from onnxprune.tiles.member import Member

__all__ = ["Sheet"]


class Sheet:
    """A member and the order of its axes; axis 0 are the rows (inputs), 1 the columns (outputs).

    Attributes:
        member: What it is about.
        mass: All of the member's weighted saliency.
        orders: Position → original entry of both axes, int64 [K] and [N].
    """

    def __init__(self, member: Member, orders: Mapping[str, Indices]) -> None:
        self.member = member
        values = np.ascontiguousarray(member.saliency * member.weight, dtype=np.float64)
        self.mass = float(values.sum())
        self._values = (values, np.ascontiguousarray(values.T))
        self._cells = (member.pattern.row_cell, member.pattern.column_cell)
        self._axes = (member.rows, member.columns)
        self._profiles: list[Floats | None] = [None, None]
        self._kept: float | None = None
        self.orders = [axis_order(axis, orders) for axis in self._axes]

    @property
    def values(self) -> Floats:
        """The weighted saliency in original order, float64 [K, N]."""
        return self._values[0]

    def reorder(self, orders: Mapping[str, Indices]) -> None:
        """Takes the orders of all variables."""
        for axis in (0, 1):
            order = axis_order(self._axes[axis], orders)
            if not np.array_equal(order, self.orders[axis]):
                self.orders[axis] = order
                self._profiles[1 - axis] = self._kept = None

    def profile(self, axis: int) -> Floats:
        """Returns each original entry's sums over the other axis' cells: float64 [length, other cells]."""
        kept = self._profiles[axis]
        if kept is None:
            other = 1 - axis
            if self._cells[other] == 1:
                kept = self._values[other][self.orders[other]].T
            else:
                kept = (gathering(self.orders[other], self._cells[other]) @ self._values[other]).T
            self._profiles[axis] = kept
        return kept

    def noisy_profile(self, axis: int, noise: float, rng: np.random.Generator) -> Floats:
        """Returns `profile` as it would be, in spread, were every entry of X off by the share `noise`."""
        profile = self.profile(axis)
        if noise <= 0:
            return profile
        # the relative spread of a sum of T like entries is 1/√T of theirs
        spread = noise / np.sqrt(self._cells[1 - axis])
        drawn = rng.standard_normal(profile.shape)
        result: Floats = np.maximum(profile * (1.0 + spread * drawn), 0.0)
        return result

    def choose(self, axis: int, profile: Floats, temperature: float = 0.0) -> Floats:
        """Returns the pattern's choice from a profile: float64 [cells of `axis`, cells of the other].

        Args:
            axis: Whose profile it is.
            profile: float64 [length, other cells].
            temperature: In units of the standard deviation of the block sums.
        """
        sums = gathering(self.orders[axis], self._cells[axis]) @ profile
        if axis:
            sums = sums.T
        heat = temperature * float(sums.std()) if temperature > 0 else 0.0
        choice = self.member.pattern.choose(np.ascontiguousarray(sums), heat)
        return choice.T if axis else choice

    def kept(self) -> float:
        """Returns the kept mass of the best mask for the present order."""
        if self._kept is None:
            axis = 1 if self._profiles[1] is not None else 0
            profile = self.profile(axis)
            sums = gathering(self.orders[axis], self._cells[axis]) @ profile
            self._kept = float((sums * self.choose(axis, profile)).sum())
        return self._kept
