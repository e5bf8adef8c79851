"""Least squares with an intercept from sums over rows, shrunk towards no change.

With rows x [columns], and r = y − (x W + b) what the layer misses of its target, the change Δ, δ
of weight and bias minimises

    mean over rows of |x Δ + δ − r|² + λ |Δ|²,   λ = ridge · mean of the diagonal of S_xx,

    (S_xx + λ I) Δ = S_xr,   δ = r̄ − x̄ Δ,

where S are covariances (second moments about zero where the bias is fixed and δ = 0). Where outputs read
some columns only, the rows and columns of the others are left out, for each set of columns by itself, or for many sets
at once (`onnxprune.recover.masked`). As the
unknown is the change, λ → ∞ leaves the pruned weight and corrects the bias alone. The error of
any Δ, δ on other rows follows from their sums, so that ridges are compared without touching
the rows again. The formulas hold for each group of a grouped layer.

He, Zhang, Sun 2017 (Channel Pruning, section 3.1) and Luo, Wu, Lin 2017 (ThiNet, section 3.2)
refit weights so, from the outputs of the original layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxprune.recover.masked import is_cheaper, solve_masked

__all__ = ["Change", "RowSums", "Support", "solve"]

Float64 = NDArray[np.float64]
Support = NDArray[np.bool_]
_SMALLEST = 1e-30


@dataclass(frozen=True)
class Change:
    """What is added to a layer's weight and bias.

    Attributes:
        weight: Δ, float64 [group, columns, outputs].
        bias: δ, float64 [group, outputs].
    """

    weight: Float64
    bias: Float64


class RowSums:
    """Sums over rows of x, r and their products, in float64.

    Args:
        group: Groups of channels that do not mix.
        columns: Columns of x per group.
        outputs: Outputs per group.
    """

    def __init__(self, group: int, columns: int, outputs: int) -> None:
        self.count = 0
        self.x: Float64 = np.zeros((group, columns))
        self.r: Float64 = np.zeros((group, outputs))
        self.rr: Float64 = np.zeros((group, outputs))
        self.xx: Float64 = np.zeros((group, columns, columns))
        self.xr: Float64 = np.zeros((group, columns, outputs))

    def add(self, x: Float64, r: Float64) -> None:
        """Adds rows: x float64 [group, rows, columns], r float64 [group, rows, outputs]."""
        self.count += x.shape[1]
        self.x += x.sum(1)
        self.r += r.sum(1)
        self.rr += np.square(r).sum(1)
        turned = x.transpose(0, 2, 1)
        self.xx += turned @ x
        self.xr += turned @ r

    def error(self, change: Change | None = None) -> float:
        """Returns the squared error per row, summed over outputs; without a change, that of r itself."""
        total = float(self.rr.sum())
        if change is not None:
            d, c = change.weight, change.bias
            total -= 2 * float((c * self.r).sum()) - self.count * float(np.square(c).sum())
            total += float((d * (self.xx @ d - 2 * self.xr)).sum())
            total += 2 * float((c * np.einsum("gk,gkm->gm", self.x, d)).sum())
        return max(total, 0.0) / max(self.count, 1)


def solve(sums: RowSums, ridge: float, *, intercept: bool, support: Support | None = None) -> Change:
    """Returns the best change for the summed rows.

    Args:
        sums: At least one row.
        ridge: Relative to the mean of the diagonal of S_xx; infinity changes the bias alone.
        intercept: Whether the bias may change.
        support: Which weights may change, bool [group, columns, outputs]; None for all.
    """
    n = sums.count
    mean_r = sums.r / n if intercept else np.zeros_like(sums.r)
    if not np.isfinite(ridge):
        return Change(np.zeros((*sums.x.shape, sums.r.shape[1])), mean_r)
    mean_x = sums.x / n if intercept else np.zeros_like(sums.x)
    sxx = sums.xx / n - mean_x[:, :, None] * mean_x[:, None, :]
    sxr = sums.xr / n - mean_x[:, :, None] * mean_r[:, None, :]
    columns = sxx.shape[-1]
    level = np.trace(sxx, axis1=1, axis2=2) / columns
    # a group whose inputs never move has nothing to solve, and must not make the system singular
    damping = np.where(level > _SMALLEST, ridge * level, 1.0)
    sxx[:, np.arange(columns), np.arange(columns)] += damping[:, None]
    weight = np.asarray(np.linalg.solve(sxx, sxr), np.float64) if support is None else _within(sxx, sxr, support)
    return Change(weight, mean_r - np.einsum("gk,gkm->gm", mean_x, weight) if intercept else mean_r)


def _within(sxx: Float64, sxr: Float64, support: Support) -> Float64:
    """Solves for outputs that read the same columns together: float64 [group, columns, outputs], zero elsewhere."""
    weight = np.zeros_like(sxr)
    for group, reads in enumerate(support):
        patterns, which = np.unique(reads, axis=1, return_inverse=True)
        if is_cheaper(patterns, reads.shape[1]):
            weight[group] = solve_masked(sxx[group], sxr[group], reads)
            continue
        for number, pattern in enumerate(patterns.T):
            columns, outputs = np.flatnonzero(pattern), np.flatnonzero(which.reshape(-1) == number)
            if len(columns):
                found = np.linalg.solve(sxx[group][np.ix_(columns, columns)], sxr[group][np.ix_(columns, outputs)])
                weight[group][np.ix_(columns, outputs)] = found
    return weight
