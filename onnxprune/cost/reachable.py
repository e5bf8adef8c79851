"""How far a model's costs can be brought down by removing channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnxprune.axes import Poly

__all__ = ["ReachableRange", "reachable_range"]


@dataclass(frozen=True)
class ReachableRange:
    """The costs that can be reached, in the resource's unit.

    Attributes:
        lowest: Cost with one channel left in every group.
        original: Cost of the model as it is.
    """

    lowest: float
    original: float

    @property
    def lowest_share(self) -> float:
        """`lowest` as a share of the original, 1.0 for a model that costs nothing."""
        return self.lowest / self.original if self.original else 1.0


def reachable_range(costs: Mapping[str, Poly], sizes: Mapping[str, int]) -> dict[str, ReachableRange]:
    """Returns resource → reachable costs.

    Args:
        costs: Resource → polynomial in kept counts.
        sizes: Group name → number of channels.
    """
    ones = dict.fromkeys(sizes, 1)
    return {resource: ReachableRange(float(cost(ones)), float(cost(sizes))) for resource, cost in costs.items()}
