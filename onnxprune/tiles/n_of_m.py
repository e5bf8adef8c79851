"""N:M sparsity along the inputs: of each m consecutive inputs, every output keeps its n largest.

The order of inputs decides which m stand together ("channel permutation", Pool and Yu, NeurIPS 2021); the
order of outputs, of whole groups and inside a group decides nothing. In `Pattern` terms a cell is one entry.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxprune.core.errors import UsageError
from onnxprune.tiles.arrays import Floats
from onnxprune.tiles.occupy import occupy

__all__ = ["NOfM"]


@dataclass(frozen=True)
class NOfM:
    """Keeps n of each m consecutive inputs, for every output on its own.

    Attributes:
        n: Entries kept in a group.
        m: Inputs in a group; the last group may be smaller, and keeps its n largest too.

    Raises:
        UsageError: unless 1 ≤ n ≤ m.
    """

    n: int = 2
    m: int = 4

    def __post_init__(self) -> None:
        if not 1 <= self.n <= self.m:
            raise UsageError(f"N:M sparsity keeps 1 to M of M inputs, not {self.n}:{self.m}.")

    @property
    def row_cell(self) -> int:
        """The choice is made entry by entry."""
        return 1

    @property
    def column_cell(self) -> int:
        """The choice is made entry by entry."""
        return 1

    @property
    def row_unit(self) -> int:
        """Whole groups may change places; any input where all are kept."""
        return self.m if self.n < self.m else 1

    @property
    def column_unit(self) -> int:
        """Outputs may change places."""
        return 1

    def choose(self, sums: Floats, temperature: float = 0.0) -> Floats:
        """Returns the n largest of each group; see `Pattern.choose`."""
        inputs, outputs = sums.shape
        # below any saliency, so that a real zero is kept before what is not there
        padded = np.pad(sums, ((0, -inputs % self.m), (0, 0)), constant_values=-1.0)
        grouped = padded.reshape(-1, self.m, outputs).transpose(1, 0, 2).reshape(self.m, -1)
        taken = occupy(grouped, self.n, temperature)
        return taken.reshape(self.m, -1, outputs).transpose(1, 0, 2).reshape(-1, outputs)[:inputs]

    def bound(self, saliency: Floats) -> float:
        """Returns the mass of each output's largest n/m of its inputs; see `Pattern.bound`."""
        inputs = len(saliency)
        count = inputs // self.m * self.n + min(inputs % self.m, self.n)
        return float(np.sort(saliency, axis=0)[inputs - count :].sum())
