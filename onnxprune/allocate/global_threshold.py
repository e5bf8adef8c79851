"""One threshold over the scores of all groups.

A channel is worth its score over the mean score of its group, so that a group gives up many
channels where their scores are uneven and few where they are alike. Scores in units of a loss
are made into such shares, too: what a loss says about a whole group at once, at the original, is
no guide to what is left of it after retraining.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onnxprune.allocate.base import Problem
from onnxprune.allocate.engine import allocate
from onnxprune.allocate.registry import ALLOCATORS
from onnxprune.core.allocation import Allocation
from onnxprune.core.shares import normalised

__all__ = ["GlobalThreshold"]


@ALLOCATORS.register("global")
class GlobalThreshold:
    """One threshold for all channels."""

    def solve(self, problem: Problem) -> Allocation:
        """Returns the allocation; see `Allocator.solve`."""
        if problem.unit == "rank":
            return allocate(problem, problem.scores)
        return allocate(problem, {name: _shares(scores) for name, scores in problem.scores.items()})


def _shares(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns scores with mean 1 over the channels that are there; those that are gone are below zero, and stay."""
    there = scores >= 0
    return np.where(there, normalised(np.where(there, scores, 0.0)) * (there.sum() / len(scores)), scores)
