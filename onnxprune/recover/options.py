"""How a pruned model is recovered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from onnxprune.core.errors import UsageError

__all__ = ["METHODS", "Method", "RecoverOptions"]

Method = Literal["least_squares", "moments", "bias"]

METHODS: tuple[Method, ...] = ("least_squares", "moments", "bias")
"""Every method, in the order in which they are tried."""


@dataclass(frozen=True)
class RecoverOptions:
    """Options of a recovery.

    Attributes:
        methods: What is tried, in this order.
        samples: Calibration samples, those held out included.
        held_out: Share of the samples that nothing is fitted on and that decides what is kept.
        ridges: Strengths of shrinkage that are compared, relative to the mean square of a
            layer's inputs.
        rows_per_column: Rows that a layer's equations are summed over, per unknown of one output.
        min_rows: Rows of the smallest layers.
        max_rows: Rows of the largest layers.
        max_columns: Layers with more inputs per output than this keep their weights; the default is a
            3 x 3 convolution of 512 channels, whose sums take about 1 GiB.
        max_bytes: Memory for the tensors of both nets; fewer samples are taken where more is needed.
        seed: Draws samples and rows.

    Raises:
        UsageError: when a number is out of range.
    """

    methods: tuple[Method, ...] = METHODS
    samples: int = 1024
    held_out: float = 0.25
    ridges: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    rows_per_column: int = 30
    min_rows: int = 8192
    max_rows: int = 30_000
    max_columns: int = 4608
    max_bytes: int = 2 * 2**30
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = sorted(set(self.methods) - set(METHODS))
        if unknown:
            raise UsageError(f"There is no method of recovery called {unknown[0]!r}. Known: {', '.join(METHODS)}.")
        if not 0 < self.held_out < 1:
            raise UsageError(f"held_out is a share of the calibration samples in (0, 1), not {self.held_out:g}.")
        if not self.ridges or min(self.ridges) <= 0:
            raise UsageError("ridges must be positive numbers, at least one: without shrinkage weights can blow up.")
        counts = ("samples", "rows_per_column", "min_rows", "max_rows", "max_columns", "max_bytes")
        for name in counts:
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, not {getattr(self, name)}.")

    def rows(self, columns: int) -> int:
        """Returns how many rows a layer with that many columns is fitted on, where there are as many."""
        return min(max(self.min_rows, self.rows_per_column * columns), max(self.max_rows, 2 * columns))
