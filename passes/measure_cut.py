"""measure_cut: how much of the weights a cut took, for the learning rate that follows it.

With W all weights before and W_p those that stay, the retained norm tells how hard the cut was;
`onnxprune.train.schedules.adaptive_scale` makes a learning rate of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxprune.bridge.roles import tensor_roles
from onnxprune.core.stage import Bench, Pass
from onnxprune.graph import Model

__all__ = ["Cut", "MeasureCut"]


@dataclass(frozen=True)
class Cut:
    """What one round of pruning took.

    Attributes:
        norm_before: ‖W‖, the Euclidean norm of all weights and biases before.
        norm_after: ‖W_p‖, the same of what stays.
        removed_share: Share of the weights' elements that went, in [0, 1].
    """

    norm_before: float
    norm_after: float
    removed_share: float


@dataclass(frozen=True)
class MeasureCut(Pass):
    """Gives "cut"."""

    name = "measure_cut"
    needs = ("working", "slim")
    gives = ("cut",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Measures."""
        before, elements = _squares(bench.take("working", Model))
        after, left = _squares(bench.take("slim", Model))
        return {"cut": Cut(math.sqrt(before), math.sqrt(after), 1 - left / elements if elements else 0.0)}


def _squares(model: Model) -> tuple[float, int]:
    """Returns the sum of squares of all weights, and how many of them are not zero."""
    total, count = 0.0, 0
    for name, role in tensor_roles(model).items():
        if role == "weight":
            value = np.asarray(model.read(name)).astype(np.float64)
            total += float(np.square(value).sum())
            count += int(np.count_nonzero(value))
    return total, count
