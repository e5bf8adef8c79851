"""From kept counts to kept channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxprune.core.allocation import Allocation
from onnxprune.core.plan import Plan

__all__ = ["select_channels"]


def select_channels(
    allocation: Allocation,
    scores: Mapping[str, NDArray[np.float64]],
    model_sha256: str = "",
    options: Mapping[str, Any] | None = None,
    approximate: Mapping[str, str] | None = None,
) -> Plan:
    """Returns the plan that keeps the channels with the highest scores.

    Of equal scores the lower index is kept.

    Args:
        allocation: Kept counts.
        scores: Group name → importance, float64 [size].
        model_sha256: Hash of the model's file, "" when there is none.
        options: What led here, for the record.
        approximate: Group name → why removal is not exact.
    """
    kept = {}
    for name, count in allocation.kept.items():
        best = np.argsort(-scores[name], kind="stable")[:count]
        kept[name] = tuple(int(i) for i in np.sort(best))
    sizes = {name: len(scores[name]) for name in allocation.kept}
    return Plan(model_sha256, sizes, kept, dict(options or {}), dict(approximate or {}))
