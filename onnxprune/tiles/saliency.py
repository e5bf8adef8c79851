"""What an entry of a weight is worth, and how good a choice of entries is.

For a weight w[K, N, taps...] the saliency of input k for output n is, summed over the taps,

    magnitude   X[k, n] = Σ_t |w[k, n, t]|
    energy      X[k, n] = Σ_t w[k, n, t]² · E[x²][k, t]

the second being what leaving the entry out adds to the squared error of the output when inputs are
uncorrelated. X is divided by its sum, so that layers are comparable. With `kept` masses under no permutation,
under the one found, and of the unstructured bound (as many entries, wherever they are),

    efficacy = (kept_found − kept_none) / (kept_bound − kept_none)          (Pool and Yu, NeurIPS 2021).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onnxprune.core.errors import InternalError
from onnxprune.tiles.arrays import Floats

__all__ = ["efficacy", "largest_mass", "measure_saliency"]


def measure_saliency(weight: NDArray[np.floating], second_moment: NDArray[np.floating] | None = None) -> Floats:
    """Returns X, float64 [K, N], of sum one (of zeros where the weight is zero).

    Args:
        weight: float [K, N, taps...], inputs first: a convolution's [N, K, kh, kw] with its first axes swapped.
        second_moment: E[x²] of what each weight multiplies, float [K] or [K, taps...]; None takes magnitudes.

    Raises:
        InternalError: when shapes do not fit or values are not finite.
    """
    wide = np.asarray(weight, dtype=np.float64)
    if wide.ndim < 2:
        raise InternalError(f"a weight has inputs and outputs, but this has the shape {wide.shape}")
    if second_moment is None:
        worth = np.abs(wide)
    else:
        worth = np.square(wide) * _spread(np.asarray(second_moment, dtype=np.float64), wide)
    if not np.isfinite(worth).all():
        raise InternalError("the saliency of a weight is not finite")
    result: Floats = worth.reshape(*wide.shape[:2], -1).sum(axis=2)
    total = float(result.sum())
    return result / total if total > 0 else result


def largest_mass(saliency: Floats, entries: int) -> float:
    """Returns the sum of the `entries` largest values."""
    flat = saliency.ravel()
    if entries >= flat.size:
        return float(flat.sum())
    return float(np.partition(flat, flat.size - entries)[flat.size - entries :].sum())


def efficacy(found: float, none: float, bound: float) -> float:
    """Returns the share of what an order could gain at most that was gained; 1 where there is nothing to gain.

    Args:
        found: Kept mass in the order found.
        none: Kept mass in the original order.
        bound: Kept mass of the unstructured bound.
    """
    room = bound - none
    return (found - none) / room if room > 1e-12 * max(bound, 1e-300) else 1.0


def _spread(moment: Floats, weight: Floats) -> Floats:
    """Moments shaped so that they multiply a weight [K, N, taps...]."""
    inputs, taps = weight.shape[0], weight.shape[2:]
    if moment.shape == (inputs,):
        return moment.reshape(inputs, *[1] * (weight.ndim - 1))
    if moment.shape == (inputs, *taps):
        return moment[:, None]
    raise InternalError(f"second moments of the shape {moment.shape} do not fit a weight of {weight.shape}")
