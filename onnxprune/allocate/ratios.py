"""How keep ratios move: three ways to go down the loss and stay within the budgets.

The problem is that of DSA (Ning et al. 2020, section 3.1),

    minimise L(α)   subject to   F_r(α) ≤ 1 for every limited resource r,   lo ≤ α ≤ 1,

with g = ∂L/∂α from a few samples. Where it is solved, −g_k = Σ_r λ_r ∂F_r/∂α_k for every ratio
between its bounds: what a per cent of a group's channels gains is worth what it costs.

    elastic     log α_k += η clip(e_k / (λ c_k) − 1, −1, 1),  e = −g α,  c = α ∂F/∂α,  λ = Σ e / Σ c,
                then all ratios times one factor, so that the budget is used up
    projected   α −= η ĝ, then the nearest ratios that hold the budget
    admm        s −= η σ'(s) (ĝ + ρ (α − z + u)),  α = σ(s),  z = nearest(α + u),  u += α − z

ĝ is a running mean of g over the root of the mean of its squares over all groups and steps: one number
for all of them, since a rate for each group, as Adam has it, would end elsewhere than at a solution.

"elastic" compares gain and cost in relative terms. That keeps groups of very different sizes in step:
a Euclidean projection takes from the ratio with the steepest cost first, however much it is worth, and
the trunk of a residual net is gone before its gradient has been heard.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from onnxprune.allocate.project import Budgets
from onnxprune.core.search import Constraint

__all__ = ["Ratios", "make_ratios"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_START = 0.99
_BISECTIONS = 60
_MEMORY = 0.9
_LONG_MEMORY = 0.99
_TINY = 1e-12
_ELASTIC_RATE = 0.15
_PROJECTED_RATE = 0.02
_ADMM_RATE = 4.0
_RHO = 3.0
_SETTLED = 1e-3  # a ratio nearer than that to 0 or 1 has no slope left in σ


class Ratios(ABC):
    """Keep ratios on their way.

    Args:
        budgets: What ratios cost.
        lowest: Lower bound of each ratio, float64 [groups], in (0, 1].
        heard: bool [groups]: groups that have a gradient; the others go along with the budget.
    """

    def __init__(self, budgets: Budgets, lowest: Floats, heard: Flags) -> None:
        self._budgets, self._lowest, self._heard = budgets, lowest, heard
        self.values: Floats = np.maximum(_START, lowest)

    @abstractmethod
    def step(self, gradient: Floats, scale: float, rate: float = 1.0) -> None:
        """Moves `values` against a gradient.

        Args:
            gradient: ∂L/∂α, float64 [groups].
            scale: Share of every limit that may be used by now, above zero.
            rate: How far to go, in terms of the first step. "admm" goes all the way: its dual answers to a
                steady pull.
        """

    def used(self) -> dict[str, float]:
        """Returns resource → share of its limit that `values` use."""
        return dict(zip(self._budgets.resources, self._budgets.used(self.values).tolist(), strict=True))

    def settle(self, scale: float) -> None:
        """Brings `values` within `scale` of every limit."""
        self.values = self._budgets.nearest(self.values, self._lowest, scale)


class _Elastic(Ratios):
    def __init__(self, budgets: Budgets, lowest: Floats, heard: Flags) -> None:
        super().__init__(budgets, lowest, heard)
        self._gains: Floats | None = None

    def step(self, gradient: Floats, scale: float, rate: float = 1.0) -> None:
        now = -gradient * self.values
        self._gains = now if self._gains is None else _MEMORY * self._gains + (1 - _MEMORY) * now
        binding = int(np.argmax(self._budgets.used(self.values)))
        costs = self.values * self._budgets.slopes(self.values)[binding]
        price = max(float(self._gains.sum()), _TINY) / max(float(costs[self._heard].sum()), _TINY)
        surplus = np.clip(self._gains / (price * np.maximum(costs, _TINY)) - 1, -1, 1) * self._heard
        self.values = np.clip(self.values * np.exp(rate * _ELASTIC_RATE * surplus), self._lowest, 1.0)
        self.settle(scale)

    def settle(self, scale: float) -> None:
        low, high = float(np.log(self._lowest.min())) - 1.0, -float(np.log(self._lowest.min())) + 1.0
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            over = (self._budgets.used(self._scaled(middle)) > scale).any()
            low, high = (middle, high) if over else (low, middle)
        self.values = self._scaled(high)

    def _scaled(self, fall: float) -> Floats:
        result: Floats = np.clip(self.values * np.exp(-fall), self._lowest, 1.0)
        return result


class _Projected(Ratios):
    def __init__(self, budgets: Budgets, lowest: Floats, heard: Flags) -> None:
        super().__init__(budgets, lowest, heard)
        self._direction = _Direction(len(lowest))

    def step(self, gradient: Floats, scale: float, rate: float = 1.0) -> None:
        self.values = self.values - rate * _PROJECTED_RATE * self._direction(gradient)
        self.settle(scale)


class _Admm(Ratios):
    def __init__(self, budgets: Budgets, lowest: Floats, heard: Flags) -> None:
        super().__init__(budgets, lowest, heard)
        self._direction = _Direction(len(lowest))
        self._allowed, self._dual = self.values.copy(), np.zeros(len(lowest))

    def step(self, gradient: Floats, scale: float, rate: float = 1.0) -> None:
        inner = np.clip(self.values, _SETTLED, 1 - _SETTLED)
        pull = self._direction(gradient) + _RHO * (self.values - self._allowed + self._dual)
        logits = np.log(inner / (1 - inner)) - _ADMM_RATE * pull * inner * (1 - inner)
        self.values = np.clip(1 / (1 + np.exp(-logits)), self._lowest, 1.0)
        self._allowed = self._budgets.nearest(self.values + self._dual, self._lowest, scale)
        self._dual = self._dual + self.values - self._allowed


class _Direction:
    """Running mean of gradients in units of their common magnitude."""

    def __init__(self, size: int) -> None:
        self._mean, self._square, self._count = np.zeros(size), 0.0, 0

    def __call__(self, gradient: Floats) -> Floats:
        self._count += 1
        self._mean = _MEMORY * self._mean + (1 - _MEMORY) * gradient
        self._square = _LONG_MEMORY * self._square + (1 - _LONG_MEMORY) * float(np.mean(gradient**2))
        magnitude = np.sqrt(self._square / (1 - _LONG_MEMORY**self._count))
        result: Floats = self._mean / (1 - _MEMORY**self._count) / max(float(magnitude), _TINY)
        return result


def make_ratios(constraint: Constraint, budgets: Budgets, lowest: Floats, heard: Flags) -> Ratios:
    """Returns keep ratios of 0.99, to be moved in the way of `constraint`."""
    kinds: dict[Constraint, type[Ratios]] = {"elastic": _Elastic, "projected": _Projected, "admm": _Admm}
    return kinds[constraint](budgets, lowest, heard)
