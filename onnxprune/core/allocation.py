"""How many channels each group keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from onnxprune.core.search import SearchRecord

__all__ = ["Allocation"]


@dataclass(frozen=True)
class Allocation:
    """Kept counts that meet a set of budgets.

    Attributes:
        kept: Group name → number of channels kept, in [1, size].
        cost: Resource → cost at `kept`, in the resource's absolute unit.
        limit: Resource → what was allowed, in the same unit.
        alignment: Group name → the multiple that its count honours (1 where alignment was
            given up to reach the budget band).
        notes: Sentences for the report, such as where alignment was relaxed.
        worth: Group name → what each channel was worth to the allocator, float64 [size], so that
            other limits can be met in the same order.
        search: How keep ratios were learned, or None where they were not.
    """

    kept: Mapping[str, int]
    cost: Mapping[str, float]
    limit: Mapping[str, float]
    alignment: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    worth: Mapping[str, NDArray[np.float64]] = field(default_factory=dict, repr=False, compare=False)
    search: SearchRecord | None = None
