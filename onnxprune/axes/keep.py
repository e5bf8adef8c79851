"""From keep masks of atoms to kept indices and sizes of whole axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from onnxprune.axes.expr import Atom, Axis, Prod, resolve
from onnxprune.axes.poly import Poly

__all__ = ["BoolArray", "keep_mask", "size_polynomial"]

BoolArray = NDArray[np.bool_]


def keep_mask(axis: Axis, masks: Mapping[Atom, BoolArray]) -> BoolArray:
    """Returns which indices of `axis` stay: bool [axis.size].

    Args:
        axis: Any axis.
        masks: Atom → bool [atom.size]; atoms that are absent stay whole.
    """
    axis = resolve(axis)
    if isinstance(axis, Atom):
        mask = masks.get(axis)
        return np.ones(axis.size, dtype=np.bool_) if mask is None else mask
    parts = [keep_mask(part, masks) for part in axis.parts]
    if not isinstance(axis, Prod):
        return np.concatenate(parts)
    flat = parts[0]
    for part in parts[1:]:
        flat = (flat[:, None] & part[None, :]).reshape(-1)
    return flat


def size_polynomial(axis: Axis, variable: Callable[[Atom], Poly]) -> Poly:
    """Returns the size of `axis` as a polynomial in the sizes that `variable` gives its atoms."""
    axis = resolve(axis)
    if isinstance(axis, Atom):
        return variable(axis)
    parts = [size_polynomial(part, variable) for part in axis.parts]
    return Poly.product(parts) if isinstance(axis, Prod) else Poly.sum(parts)
