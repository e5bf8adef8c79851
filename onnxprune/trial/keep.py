"""Keep probabilities of channels that sum to a wanted share (DSA, Ning et al. 2020, section 3.2).

A group with importances b_i and keep ratio α keeps channel i with probability

    p_i = σ(β₂ (log b_i − log β₁)),      β₁ such that  mean_i p_i = α.

The left side falls strictly in log β₁, so there is one root, found by bisection in float64 for all
groups at once. By the implicit function theorem, with p_i (1 − p_i) as weights,

    ∂p_i/∂α = C · p_i (1 − p_i) / Σ_j p_j (1 − p_j),

so the gradient that reaches α is C times the mean of the channels' gradients, weighted by how
undecided each channel is. b and β₂ get none. β₂ → ∞ keeps the α C most important channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

__all__ = ["Importance"]

_BISECTIONS = 60
_SMALLEST = 1e-12
_REACH = 40.0  # σ(±40) is 0 or 1 within float64 of any mean


class Importance:
    """Importances of all groups, ready to turn keep ratios into probabilities.

    Args:
        values: Group → importance, float64 [channels], at least 0; only ratios within a group count.
    """

    def __init__(self, values: Mapping[str, NDArray[np.float64]]) -> None:
        self.sizes = {name: len(each) for name, each in values.items()}
        longest = max(self.sizes.values(), default=0)
        self._logs = torch.full((len(values), longest), 0.0, dtype=torch.float64)
        self._there = torch.zeros((len(values), longest), dtype=torch.bool)
        for row, each in enumerate(values.values()):
            top = each.max(initial=0.0)
            shares = np.maximum(each / top, _SMALLEST) if top > 0 else np.ones_like(each)
            self._logs[row, : len(each)] = torch.from_numpy(np.log(shares))
            self._there[row, : len(each)] = True
        self._counts = torch.tensor(list(self.sizes.values()), dtype=torch.float64)

    def probabilities(self, ratios: torch.Tensor, steepness: float) -> dict[str, torch.Tensor]:
        """Returns group → p, float64 [channels], with mean α; gradients reach `ratios`.

        Args:
            ratios: α of each group, float64 [groups], in (0, 1].
            steepness: β₂, above zero.
        """
        rows: torch.Tensor = _Keep.apply(ratios, self._logs, self._there, self._counts, steepness)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return {name: row[:size] for row, (name, size) in zip(rows, self.sizes.items(), strict=True)}


class _Keep(torch.autograd.Function):
    """Keep probabilities of rows of channels, with the implicit gradient."""

    @staticmethod
    def forward(
        ctx: Any, ratios: torch.Tensor, logs: torch.Tensor, there: torch.Tensor, counts: torch.Tensor, steepness: float
    ) -> torch.Tensor:
        """Returns p: float64 [groups, channels], zero where no channel is."""
        steep = torch.where(there, steepness * logs, -torch.inf)  # σ(−∞) = 0: absent channels add nothing
        low = torch.where(there, steep, torch.inf).amin(1) - _REACH
        high = steep.amax(1) + _REACH
        aims = ratios.detach() * counts
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            over = torch.sigmoid(steep - middle[:, None]).sum(1) > aims
            low, high = torch.where(over, middle, low), torch.where(over, high, middle)
        x = steep - ((low + high) / 2)[:, None]
        undecided = torch.where(there, F.logsigmoid(x) + F.logsigmoid(-x), -torch.inf)
        ctx.save_for_backward(torch.softmax(undecided, 1), counts)
        return torch.sigmoid(x)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Returns ∂L/∂α and nothing for the rest."""
        weights, counts = ctx.saved_tensors
        return counts * (grads[0] * weights).sum(1), None, None, None, None
