"""Latency as a polynomial in kept counts, fitted to models that were cut and timed.

What a run takes is not what its layers take one by one: onnxruntime fuses, reorders memory, and
has several threads share a layer. So whole models are timed, at widths spread over all groups at
once, and a polynomial with non-negative coefficients is fitted to their times. Its terms are those
of the layers' MACs and of the bytes that every tensor moves, plus a constant; as a start they have
the weights of the best machine with three numbers (seconds per MAC, per element, per run),

    t₀(n) = a Σ_t macs_t Π n + b Σ_t elements_t Π n + c,

and the times say by how much each term differs from it,

    minimise  Σ_s (t(n_s) / t_s − 1)² + μ Σ_t w_t² (u_t − 1)²,   t = Σ_t u_t t₀_t,   u_t ≥ 0,

w_t being the share of the term in t₀. μ is chosen by the error on samples left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from onnxprune.axes import Poly
from onnxprune.core.errors import InternalError

__all__ = ["LatencyFit", "LatencySample", "fit_latency"]

Floats = NDArray[np.float64]
_STIFFNESS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
_FOLDS = 8
_LEAST = 4


@dataclass(frozen=True)
class LatencySample:
    """A model that was timed.

    Attributes:
        counts: Group → channels that it has.
        ratio: Its time over the original's.
    """

    counts: Mapping[str, int]
    ratio: float


@dataclass(frozen=True)
class LatencyFit:
    """Latency over the original's, as a function of kept counts.

    Attributes:
        poly: The ratio; 1 at the original's counts, up to the fit's error.
        error: Root mean square of the relative error on samples that the fit did not see.
        samples: How many it was fitted to.
    """

    poly: Poly
    error: float
    samples: int


def fit_latency(macs: Poly, elements: Poly, samples: Sequence[LatencySample]) -> LatencyFit:
    """Returns the polynomial that fits the samples best.

    Args:
        macs: MACs, whose terms and weights are the start for what computes.
        elements: Elements of all computed tensors, likewise for what moves memory.
        samples: At least four, of different counts; the original among them helps.
    """
    if len(samples) < _LEAST:
        raise InternalError(f"{len(samples)} samples are too few to fit latency to")
    keys = sorted({key for poly in (macs, elements) for key in poly.terms} | {()})
    values = np.array([[_monomial(key, sample.counts) for key in keys] for sample in samples])
    times = np.array([sample.ratio for sample in samples])
    start = _start(values, times, [macs, elements], keys)
    present = start > 0
    terms = values[:, present] * start[present] / times[:, None]  # relative to each time: all samples weigh alike
    shares = terms.mean(axis=0) / terms.sum(axis=1).mean()
    folds = np.arange(len(samples)) % _FOLDS
    errors = {mu: _left_out(terms, shares, mu, folds) for mu in _STIFFNESS}
    best = min(errors, key=lambda mu: errors[mu])
    factors = _factors(terms, shares, best)
    found = dict(zip(np.flatnonzero(present).tolist(), (factors * start[present]).tolist(), strict=True))
    return LatencyFit(Poly({keys[i]: value for i, value in found.items() if value > 0}), errors[best], len(samples))


def _monomial(key: tuple[str, ...], counts: Mapping[str, int]) -> float:
    value = 1.0
    for name in key:
        value *= counts[name]
    return value


def _start(values: Floats, times: Floats, polys: Sequence[Poly], keys: Sequence[tuple[str, ...]]) -> Floats:
    """Coefficients of the best machine with a number for each of the polynomials and one for a run: [terms]."""
    weights = np.array(
        [[poly.terms.get(key, 0.0) for key in keys] for poly in polys] + [[float(k == ()) for k in keys]]
    )
    parts = values @ weights.T / times[:, None]
    rates, _ = nnls(parts, np.ones(len(times)))
    if not rates.any():
        rates = np.array([0.0, 0.0, float(times.mean())])
    # where two numbers explain the same, neither may vanish, or its terms could not come back
    floor = 0.02 * (parts * rates).sum(axis=1).mean() / np.maximum(parts.mean(axis=0), 1e-300)
    result: Floats = np.maximum(rates, floor) @ weights
    return result


def _factors(terms: Floats, shares: Floats, stiffness: float) -> Floats:
    pull = np.sqrt(stiffness) * np.diag(np.maximum(shares, 1e-6))
    rows = np.concatenate([terms, pull])
    found, _ = nnls(rows, np.concatenate([np.ones(len(terms)), pull.diagonal()]), maxiter=50 * rows.shape[1])
    result: Floats = found
    return result


def _left_out(terms: Floats, shares: Floats, stiffness: float, folds: NDArray[np.int64]) -> float:
    """Root mean square of the relative error on samples left out, fold by fold."""
    errors = []
    for fold in range(_FOLDS):
        out = folds == fold
        if out.any() and (~out).sum() >= _LEAST - 1:
            errors.append(terms[out] @ _factors(terms[~out], shares, stiffness) - 1)
    return float(np.sqrt(np.mean(np.concatenate(errors) ** 2))) if errors else float("inf")
