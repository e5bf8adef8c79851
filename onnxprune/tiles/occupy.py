"""The k largest of each column, sharp or blurred.

The kept mass of the k largest of the values b is max { m·b : 0 ≤ m ≤ 1, Σm = k }. Adding τ times the
entropy of m smooths it, and the best m becomes a Fermi-Dirac occupation,

    m_i = 1 / (1 + exp((μ − b_i) / τ)),   μ such that Σ m_i = k,

which tends to the sharp choice as τ → 0. Values apart by much less than τ are shared out.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from onnxprune.tiles.arrays import Floats

__all__ = ["occupy"]

_BISECTIONS = 40
_NEAR = 0.02  # as good as none, or all; equal cells are what makes placing channels cheap
_REACH = 40.0  # exp(-40) is nothing beside one


def occupy(values: Floats, count: int, temperature: float = 0.0) -> Floats:
    """Returns the share of each value that is taken, float64 shaped as `values`, `count` in each column.

    Args:
        values: float64 [n, columns].
        count: How many are taken of each column, 0 to n.
        temperature: τ, in units of `values`; 0 takes whole values, the first of equal ones.
    """
    n = len(values)
    if count <= 0 or count >= n:
        return np.full(values.shape, float(count > 0))
    if temperature <= 0:
        taken = np.zeros(values.shape)
        order = np.argsort(-values, axis=0, kind="stable")[:count]
        np.put_along_axis(taken, order, 1.0, axis=0)
        return taken
    low = values.min(axis=0) - _REACH * temperature
    high = values.max(axis=0) + _REACH * temperature
    for _ in range(_BISECTIONS):
        level = 0.5 * (low + high)
        many = _fermi(values, level, temperature).sum(axis=0) > count
        low, high = np.where(many, level, low), np.where(many, high, level)
    shares = _fermi(values, 0.5 * (low + high), temperature)
    shares[shares < _NEAR] = 0.0
    shares[shares > 1.0 - _NEAR] = 1.0
    return shares


def _fermi(values: Floats, level: Floats, temperature: float) -> Floats:
    result: Floats = expit((values - level) / temperature)
    return result
