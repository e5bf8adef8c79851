"""How far the outputs of two models lie apart.

With a the reference and b the other output, over all elements:
    max_abs = max|a − b|
    max_rel = max|a − b| / (max|a| + 1e-9)
    cosine  = ⟨a, b⟩ / (‖a‖ ‖b‖), 1 where both are zero
computed in float64. An element that is NaN in both, or the same infinity in both, is equal;
one that is so on one side only is infinitely far away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxprune.core.errors import ModelError
from onnxprune.runtime.values import AnyArray

__all__ = ["OutputDifference", "compare", "worst_rel"]

_TINY = 1e-9


@dataclass(frozen=True)
class OutputDifference:
    """The difference of one output.

    Attributes:
        name: Name of the output.
        max_abs: Largest absolute difference, in the output's unit.
        max_rel: The same over the largest magnitude of the reference.
        cosine: Cosine similarity in [-1, 1].
        identical: Whether shapes, dtypes and all elements are equal.
        reference_shape: Shape of the reference.
        other_shape: Shape of the other; where they differ, the differences are infinite.
    """

    name: str
    max_abs: float
    max_rel: float
    cosine: float
    identical: bool
    reference_shape: tuple[int, ...]
    other_shape: tuple[int, ...]


def compare(reference: Mapping[str, AnyArray], other: Mapping[str, AnyArray]) -> tuple[OutputDifference, ...]:
    """Returns one difference per output of `reference`, in its order.

    Raises:
        ModelError: when the names of the outputs differ.
    """
    if set(reference) != set(other):
        raise ModelError(
            f"The models have different outputs: {', '.join(reference)} and {', '.join(other)}. "
            "Only models with the same output names can be compared."
        )
    return tuple(_difference(name, np.asarray(a), np.asarray(other[name])) for name, a in reference.items())


def worst_rel(differences: Iterable[OutputDifference]) -> float:
    """Returns the largest `max_rel`, 0 when there are no outputs."""
    return max((d.max_rel for d in differences), default=0.0)


def _difference(name: str, a: AnyArray, b: AnyArray) -> OutputDifference:
    shapes = a.shape, b.shape
    if a.shape != b.shape or (_is_text(a) or _is_text(b)):
        same = a.shape == b.shape and bool(np.all(a == b))
        far = 0.0 if same else float("inf")
        return OutputDifference(name, far, far, 1.0 if same else 0.0, same and a.dtype == b.dtype, *shapes)
    wide_a, wide_b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    equal = (wide_a == wide_b) | (np.isnan(wide_a) & np.isnan(wide_b))
    max_abs = _largest(np.where(equal, 0.0, _gap(wide_a, wide_b)))
    # Where the reference itself overflows, its finite part sets the scale.
    max_rel = max_abs / (_largest(np.abs(wide_a[np.isfinite(wide_a)])) + _TINY)
    # int64 values beyond 2^53 fall together in float64; exact equality is decided in their own dtype.
    exact = np.array_equal(a, b) if a.dtype.kind in "biu" else bool(equal.all())
    identical = exact and a.dtype == b.dtype
    return OutputDifference(name, max_abs, max_rel, _cosine(wide_a, wide_b), identical, *shapes)


def _is_text(array: AnyArray) -> bool:
    return array.dtype.kind in "OUS"


def _gap(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        gap = np.abs(a - b)
    return np.where(np.isnan(gap), np.inf, gap)


def _largest(values: NDArray[np.float64]) -> float:
    return float(values.max(initial=0.0))


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    finite = np.isfinite(a) & np.isfinite(b)
    a, b = a[finite], b[finite]
    scale_a, scale_b = _largest(np.abs(a)), _largest(np.abs(b))
    if scale_a == 0.0 or scale_b == 0.0:
        return 1.0 if scale_a == scale_b else 0.0
    a, b = a / scale_a, b / scale_b  # Squares of very large or small values would leave float64.
    return float(np.clip(a @ b / np.sqrt((a @ a) * (b @ b)), -1.0, 1.0))
