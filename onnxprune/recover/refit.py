"""Least squares: a layer's weight fitted anew to what the original layer gives.

The unknown is the change of the weight (`onnxprune.recover.normal`), its shrinkage is chosen on
held-out rows, and nothing is changed where they do not gain.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from onnxprune.bridge.linear import LinearLayer
from onnxprune.bridge.rows import column_count, from_matrix, to_matrix
from onnxprune.recover.normal import Change, RowSums, Support, solve
from onnxprune.recover.options import RecoverOptions
from onnxprune.recover.record import LayerRecovery
from onnxprune.recover.sweep import Rows, Sweep

__all__ = ["EXACT", "GAIN", "refit"]

EXACT = 1e-9
"""A relative error below this is rounding: the layer sees what the original sees."""
GAIN = 1e-3
"""The least share of an error that a change must take away on held-out samples to be kept."""


def refit(
    sweep: Sweep,
    layer: LinearLayer,
    options: RecoverOptions,
    rng: np.random.Generator,
    mask: NDArray[np.bool_] | None = None,
) -> LayerRecovery:
    """Returns what was done to a layer that the sweep has arrived at.

    Args:
        sweep: Arrived at the layer.
        layer: The layer.
        options: Ridges and limits.
        rng: Draws rows.
        mask: Which entries of the weight may change, bool, to be broadcast over it; None for all.
    """
    columns = column_count(layer)
    if columns > options.max_columns:
        return _left(layer, f"{columns} inputs per output are more than {options.max_columns}")
    sums, spread = _sum(sweep.rows(layer, sweep.aims(layer), options.rows(columns), rng))
    if sums is None:
        return LayerRecovery(layer.label, 0.0, math.nan, False, "sees what the original sees")
    fit, held = sums
    before = held.error()
    support = None if mask is None else _support(layer, mask)
    best, error, ridge = _best(fit, held, options.ridges, layer.own_bias, support)
    kept = error < (1 - GAIN) * before and _apply(sweep, layer, best)
    reason = _reason(kept, ridge)
    return LayerRecovery(layer.label, before / spread, error / spread, kept, reason)


def _sum(rows: Iterable[Rows]) -> tuple[tuple[RowSums, RowSums] | None, float]:
    """Sums over the rows to fit and those held out, and the target's variance on the latter."""
    sums: tuple[RowSums, RowSums] | None = None
    targets: list[NDArray[np.float64]] = []
    for part in rows:
        missing = part.aim - part.y
        if sums is None:
            if float(np.square(missing).mean()) <= EXACT * float(np.square(part.aim).mean()):
                return None, 1.0
            shape = (part.x.shape[0], part.x.shape[2], part.y.shape[2])
            sums = RowSums(*shape), RowSums(*shape)
        sums[part.held_out].add(part.x, missing)
        if part.held_out:
            targets.append(part.aim)
    spread = float(np.concatenate(targets, axis=1).var(axis=1).sum()) if targets else 0.0
    return sums, max(spread, 1e-30)


def _support(layer: LinearLayer, mask: NDArray[np.bool_]) -> Support:
    """The mask as the layer's matrix: bool [group, columns, outputs]."""
    shape = [int(n) for n in layer.node.inputs[layer.slot].shape]
    found: Support = to_matrix(layer, np.broadcast_to(mask, shape)) != 0
    return found


def _best(
    fit: RowSums, held: RowSums, ridges: tuple[float, ...], intercept: bool, support: Support | None
) -> tuple[Change, float, float]:
    """The change with the least held-out error, that error, and its ridge."""
    tried = [*ridges, math.inf] if intercept else list(ridges)
    found = [(solve(fit, ridge, intercept=intercept, support=support), ridge) for ridge in tried]
    errors = [held.error(change) for change, _ in found]
    best = int(np.argmin(errors))
    return found[best][0], errors[best], found[best][1]


def _apply(sweep: Sweep, layer: LinearLayer, change: Change) -> bool:
    weight = sweep.read(layer.weight)
    values = {layer.weight: from_matrix(layer, to_matrix(layer, weight) + change.weight, weight.shape)}
    if layer.own_bias:
        new_bias = sweep.bias(layer, change.bias.size) + change.bias.reshape(-1)
        values[layer.bias] = new_bias / layer.bias_scale
    return sweep.set(values)


def _reason(kept: bool, ridge: float) -> str:
    if not kept:
        return "no gain on held-out samples"
    return "bias corrected" if math.isinf(ridge) else f"weights refitted, ridge {ridge:g}"


def _left(layer: LinearLayer, reason: str) -> LayerRecovery:
    return LayerRecovery(layer.label, math.nan, math.nan, False, reason)
