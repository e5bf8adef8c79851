"""Making scores of different groups comparable, where the criterion's own way is not wanted.

    auto      as the criterion gives them: shares of the group's mean, ranks, or rises of a loss
    mean      s / mean(s)
    max       s / max(s)
    gaussian  Φ((s − mean(s)) / std(s)), Φ the normal distribution: how far a channel stands out
    none      s as it is; magnitudes are then norms, and loud groups keep more

Means, maxima and deviations are those of the channels that are left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from onnxprune.core.shares import normalised
from onnxprune.criteria.base import Normalize, Scores

__all__ = ["comparable"]

Floats = NDArray[np.float64]


def _over_max(values: Floats) -> Floats:
    top = float(values.max())
    return values / top if top > 0 else values


def _gaussian(values: Floats) -> Floats:
    shares = normalised(values)
    spread = float(shares.std())
    result: Floats = ndtr((shares - shares.mean()) / spread) if spread > 0 else np.full(len(values), 0.5)
    return result


_WAYS: Mapping[str, Callable[[Floats], Floats]] = {
    "mean": normalised,
    "max": _over_max,
    "gaussian": _gaussian,
    "none": lambda v: v,
}


def comparable(scores: Scores, way: Normalize) -> Scores:
    """Returns scores that compare between groups in another way.

    Args:
        scores: Those of a criterion; channels below zero are gone and stay so.
        way: As above.
    """
    if way == "auto":
        return scores
    values = {}
    for name, each in scores.values.items():
        there = each >= 0
        found = each.copy()
        found[there] = _WAYS[way](each[there])
        values[name] = found
    return replace(scores, values=values, unit="share" if way == "mean" else "rank")
