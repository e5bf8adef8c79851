"""The training loss, read from the device now and then.

Reading a number from a GPU waits for all it still has to do, so losses are gathered there and
read several at a time. The sums are made in float64 in the order of the steps: how many are read
at a time does not show in them.
"""

from __future__ import annotations

import math

import torch

from onnxprune.train.workers import Workers

__all__ = ["LossMeter"]

_SMOOTHING = 0.95


class LossMeter:
    """Gathers the losses of steps.

    Args:
        team: Losses are means over its processes.
        every: Steps between readings.

    Attributes:
        total: Sum over the steps of the epoch that were read.
        steps: How many these are.
        recent: Exponential mean over all steps read, NaN before the first.
    """

    def __init__(self, team: Workers, every: int) -> None:
        self._team, self._every = team, every
        self._waiting: list[torch.Tensor] = []
        self.total, self.steps, self.recent = 0.0, 0, math.nan

    def add(self, loss: torch.Tensor) -> None:
        """Takes in a step's loss, a scalar on any device."""
        self._waiting.append(loss)

    @property
    def full(self) -> bool:
        """Whether it is time to read."""
        return len(self._waiting) >= self._every

    def read(self) -> bool:
        """Reads what was gathered; returns whether all of it is finite."""
        if self._waiting:
            values = self._team.mean(torch.stack(self._waiting).double()).tolist()
            self._waiting.clear()
            for value in values:
                self.total += value
                self.steps += 1
                self.recent = value if math.isnan(self.recent) else _SMOOTHING * self.recent + (1 - _SMOOTHING) * value
        return math.isfinite(self.total)

    def mean(self) -> float:
        """Returns the mean loss of the epoch so far, and begins another."""
        mean = self.total / self.steps if self.steps else math.nan
        self.total, self.steps = 0.0, 0
        return mean
