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


def reordered(
    model: Model, analysis: Analysis, orders: Mapping[str, IntArray], kept: Mapping[str, int] | None = None
) -> Model:
    """Returns a copy of `model` whose channels stand in other places.

    Args:
        model: The analysed model, or what surgery left of it.
        analysis: The analysis, in either mode.
        orders: Group name → channel at each place, int64 [channels that are left]; groups that are absent stay as
            they are.
        kept: Group name → channels that are left of it; all where absent.

    Raises:
        InternalError: when an order is no permutation of its group's channels.
    """
    left = {**analysis.sizes, **(kept or {})}
    for name, order in orders.items():
        if not np.array_equal(np.sort(order), np.arange(left[name])):
            raise InternalError(
                f"the order of group {name!r} is no permutation of its {left[name]} channels: {order!r}"
            )
    moved = {analysis.atoms[name]: order for name, order in orders.items()}
    sizes = {analysis.atoms[name]: count for name, count in left.items()}
    result = model.copy()
    for name in model.initializers():
        value = None
        for position, axis in enumerate(analysis.inference.axes(name)):
            if any(atom in moved for atom in leaves(axis)):
                whole = model.read(name) if value is None else value
                value = np.take(whole, axis_order(axis, moved, sizes), axis=position)
        if value is not None:
            result.replace(name, value)
    return result
