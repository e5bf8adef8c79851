"""Least squares where every output reads columns of its own, for all outputs at once.

With S [columns, columns] symmetric and positive, right sides B [columns, outputs] and a mask M of the same shape, find
X, zero outside of M, such that for each output

    (S X)[k] = B[k] at every column k that it reads.

A factorisation for each output would cost columns³ times outputs. Conjugate gradients on all outputs together need a
product S P in each step only, after which what lies outside of M is set to zero; S restricted to the columns of an
output is positive as S is, so that each output has its own step lengths and converges by itself. The diagonal of S is
the preconditioner (Hestenes and Stiefel, 1952; Saad, Iterative Methods for Sparse Linear Systems, algorithm 9.1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["STEPS", "is_cheaper", "solve_masked"]

Float64 = NDArray[np.float64]
STEPS = 96
_EXACT = 1e-8
_TINY = 1e-300


def is_cheaper(patterns: NDArray[np.bool_], outputs: int) -> bool:
    """Returns whether conjugate gradients take fewer operations than a factorisation for each set of columns.

    Args:
        patterns: The sets, bool [columns, sets].
        outputs: How many outputs read one of them.
    """
    columns = len(patterns)
    factors = 2 / 3 * float((patterns.sum(axis=0).astype(np.float64) ** 3).sum())
    return 2.0 * STEPS * columns**2 * outputs < factors


def solve_masked(s: Float64, b: Float64, reads: NDArray[np.bool_], *, steps: int = STEPS) -> Float64:
    """Returns X, float64 [columns, outputs], zero where an output does not read a column.

    Args:
        s: S, symmetric, its eigenvalues above zero.
        b: B, float64 [columns, outputs].
        reads: M, bool [columns, outputs].
        steps: Most steps; outputs that have converged no longer change.
    """
    scale = 1.0 / np.diag(s)[:, None]
    x = np.zeros_like(b)
    left = np.where(reads, b, 0.0)
    aim = _EXACT**2 * np.square(left).sum(axis=0)
    better = scale * left
    direction = better.copy()
    slope = (left * better).sum(axis=0)
    for _ in range(steps):
        moving = np.square(left).sum(axis=0) > aim
        if not moving.any():
            break
        image = np.where(reads, s @ direction, 0.0)
        length = np.where(moving, slope / np.maximum((direction * image).sum(axis=0), _TINY), 0.0)
        x += length * direction
        left -= length * image
        better = scale * left
        before, slope = slope, (left * better).sum(axis=0)
        direction = better + slope / np.maximum(before, _TINY) * direction
    return x
