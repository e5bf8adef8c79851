"""From orders of atoms to orders of whole axes.

An order π of an atom says which channel stands at each place: place p holds channel π[p]. A
flattened axis orders each of its factors, a concatenated one each of its parts, so that parts and
factors stay where they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from onnxprune.axes.expr import Atom, Axis, Prod, resolve

__all__ = ["IntArray", "axis_order"]

IntArray = NDArray[np.int64]
_WHOLE: Mapping[Atom, int] = {}


def axis_order(axis: Axis, orders: Mapping[Atom, IntArray], sizes: Mapping[Atom, int] = _WHOLE) -> IntArray:
    """Returns which index of `axis` comes to stand at each place: int64 [length of the axis].

    Args:
        axis: Any axis.
        orders: Atom → order of the channels that it has, int64, a permutation; atoms that are absent stay
            as they are.
        sizes: Atom → channels that are left of it; all where absent.
    """
    axis = resolve(axis)
    if isinstance(axis, Atom):
        order = orders.get(axis)
        return np.arange(sizes.get(axis, axis.size)) if order is None else order
    parts = [axis_order(part, orders, sizes) for part in axis.parts]
    if not isinstance(axis, Prod):
        starts = np.cumsum([0, *(len(part) for part in parts[:-1])])
        return np.concatenate([part + start for part, start in zip(parts, starts, strict=True)])
    flat = parts[0]
    for part in parts[1:]:
        flat = (flat[:, None] * len(part) + part[None, :]).reshape(-1)
    return flat
