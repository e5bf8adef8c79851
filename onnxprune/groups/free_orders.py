"""A model from which channels have gone, in terms of the analysis that knows most groups.

Removal of a channel that LayerNormalization takes statistics over is an approximation, and the exact analysis
keeps such groups whole. Their order is as free as that of all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from onnxprune.axes import IntArray
from onnxprune.core.plan import Plan
from onnxprune.graph import Model
from onnxprune.groups.analysis import Analysis, analyse
from onnxprune.groups.counterparts import counterparts
from onnxprune.groups.shapes import ConcreteShapes

__all__ = ["FreeOrders", "free_orders"]


@dataclass(frozen=True)
class FreeOrders:
    """Groups whose order is free.

    Attributes:
        analysis: Knows them, of the model before channels went.
        left: Group → channels that are left of it, ascending; groups that are whole are absent.
    """

    analysis: Analysis
    left: Mapping[str, tuple[int, ...]]

    @property
    def counts(self) -> dict[str, int]:
        """Group → number of channels that are left of it."""
        return {**self.analysis.sizes, **{name: len(channels) for name, channels in self.left.items()}}

    def lifted(self, orders: Mapping[str, IntArray]) -> dict[str, IntArray]:
        """Returns orders of all channels that put those that are left as `orders` does, each in one of their places.

        Args:
            orders: Group → order of the channels that are left, int64.
        """
        found = {}
        for name, order in orders.items():
            whole, channels = np.arange(self.analysis.sizes[name]), np.array(self.left.get(name, ()), dtype=np.int64)
            if len(channels):
                whole[channels] = channels[order]
            found[name] = whole if len(channels) else np.asarray(order)
        return found

    def lowered(self, orders: Mapping[str, IntArray]) -> dict[str, IntArray]:
        """Returns the orders of what is left that orders of all channels make; the inverse of `lifted`.

        Args:
            orders: Group → order of all channels, int64, in which those that are left keep to their places.
        """
        found = {}
        for name, order in orders.items():
            channels = np.array(self.left.get(name, ()), dtype=np.int64)
            found[name] = np.searchsorted(channels, np.asarray(order)[channels]) if len(channels) else np.asarray(order)
        return found


def free_orders(model: Model, shapes: ConcreteShapes, exact: Analysis, plan: Plan) -> FreeOrders:
    """Returns the groups whose order is free once a plan is carried out.

    Args:
        model: The analysed model.
        shapes: Of its tensors.
        exact: The analysis that the plan is for, in either mode.
        plan: What is kept.
    """
    wide = analyse(model, shapes, approximate=True)
    names = counterparts(exact, wide)
    if names is None:
        wide, names = exact, {name: name for name in exact.sizes}
    left = {names[name]: channels for name, channels in plan.kept.items() if len(channels) < plan.sizes[name]}
    return FreeOrders(wide, left)
