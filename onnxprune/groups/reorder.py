"""The same model with its channels in another order.

Axis rules say which channel of one tensor is which channel of another, and nothing an operator
does depends on the number that an unpinned channel bears: what mixes channels, or treats them by
their place, pins them. An order of an atom that every initializer follows therefore changes
nothing but the order of terms in sums, and no node. That holds for atoms which only a statistic
ties together, too: a mean does not care in which order it is taken. So the analysis may be the
approximate one, though removal is not meant.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from onnxprune.axes import IntArray, axis_order, leaves
from onnxprune.core.errors import InternalError
from onnxprune.graph import Model
from onnxprune.groups.analysis import Analysis

__all__ = ["reordered"]


def reordered(model: Model, analysis: Analysis, orders: Mapping[str, IntArray]) -> Model:
    """Returns a copy of `model` whose channels stand in other places.

    Args:
        model: The analysed model.
        analysis: Its analysis, in either mode.
        orders: Group name → channel at each place, int64 [size]; groups that are absent stay as they are.

    Raises:
        InternalError: when an order is no permutation of its group's channels.
    """
    for name, order in orders.items():
        if not np.array_equal(np.sort(order), np.arange(analysis.sizes[name])):
            raise InternalError(f"the order of group {name!r} is no permutation of its channels: {order!r}")
    moved = {analysis.atoms[name]: order for name, order in orders.items()}
    result = model.copy()
    for name in model.initializers():
        axes = analysis.inference.axes(name)
        value = None
        for position, axis in enumerate(axes):
            if any(atom in moved for atom in leaves(axis)):
                value = np.take(model.read(name) if value is None else value, axis_order(axis, moved), axis=position)
        if value is not None:
            result.replace(name, value)
    return result
