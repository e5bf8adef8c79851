"""Moments: each output channel of a layer given the mean and deviation it had in the original.

With μ, σ of the pruned layer's output y and μ*, σ* of the original's,

    y' = a (y − μ) + μ*,   a = σ* / σ,   so   W' = a W,   b' = a (b − μ) + μ*.

That is a BatchNormalization with γ, β = σ*, μ* behind the layer, folded into it. A refitted
layer gives less variance than the original, as it cannot explain all of it; this gives it back.
The squared error of a layer grows by it, so that only the net's outputs can judge it.

With a = 1 the mean alone is set right: bias correction (Nagel et al. 2019, Data-Free
Quantization, section 4.2, here with measured means), judged layer by layer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onnxprune.bridge.linear import LinearLayer
from onnxprune.bridge.rows import from_matrix, to_matrix
from onnxprune.recover.options import RecoverOptions
from onnxprune.recover.record import LayerRecovery
from onnxprune.recover.refit import EXACT, GAIN
from onnxprune.recover.sweep import Rows, Sweep

__all__ = ["match"]

Float64 = NDArray[np.float64]
_LARGEST_FACTOR = 10.0  # a channel that nearly died would bring up noise alone


def match(
    sweep: Sweep, layer: LinearLayer, options: RecoverOptions, rng: np.random.Generator, *, scale: bool
) -> LayerRecovery:
    """Returns what was done to a layer that the sweep has arrived at; its bias must be its own.

    Args:
        sweep: Arrived at the layer.
        layer: The layer.
        options: Numbers of rows.
        rng: Draws rows.
        scale: Whether deviations are matched, or means alone.
    """
    aims = sweep.aims(layer, total=not scale)
    rows = list(sweep.rows(layer, aims, options.min_rows, rng))
    fit, held = [r for r in rows if not r.held_out], [r for r in rows if r.held_out]
    y, aim = _joined(fit)
    held_y, held_aim = _joined(held)
    spread = max(float(held_aim.var(axis=1).sum()), 1e-30)
    before = _error(held_aim - held_y) / spread
    if before <= EXACT:
        return LayerRecovery(layer.label, before, math.nan, False, "sees what the original sees")
    factor = _factor(y.var(axis=1), aim.var(axis=1)) if scale else np.ones_like(y[:, 0])
    shift = aim.mean(axis=1) - factor * y.mean(axis=1)
    after = _error(held_aim - factor[:, None] * held_y - shift[:, None]) / spread
    if not scale and not after < (1 - GAIN) * before:
        return LayerRecovery(layer.label, before, after, False, "no gain on held-out samples")
    kept = _apply(sweep, layer, factor, shift)
    return LayerRecovery(layer.label, before, after, kept, "moments matched" if scale else "bias corrected")


def _joined(rows: Sequence[Rows]) -> tuple[Float64, Float64]:
    return np.concatenate([r.y for r in rows], axis=1), np.concatenate([r.aim for r in rows], axis=1)


def _error(missing: Float64) -> float:
    return float(np.square(missing).mean(axis=1).sum())


def _factor(var: Float64, aim: Float64) -> Float64:
    """σ* / σ within bounds; 1 for a channel that does not move in one of the nets."""
    moves = (var > 0) & (aim > 0)
    ratio = np.sqrt(np.divide(aim, var, out=np.ones_like(var), where=moves))
    return np.clip(ratio, 1 / _LARGEST_FACTOR, _LARGEST_FACTOR)


def _apply(sweep: Sweep, layer: LinearLayer, factor: Float64, shift: Float64) -> bool:
    weight = sweep.read(layer.weight)
    bias = sweep.bias(layer, factor.size)
    scaled = to_matrix(layer, weight) * factor[:, None, :]
    new_bias = (factor.reshape(-1) * bias + shift.reshape(-1)) / layer.bias_scale
    return sweep.set({layer.weight: from_matrix(layer, scaled, weight.shape), layer.bias: new_bias})
