"""The search of DSA (Ning et al., ECCV 2020): weights and keep ratios learn in turn.

Every group keeps its channels with probabilities that rise with their importance and have the
group's keep ratio α as their mean (`onnxprune.trial.keep`). A step of the weights is done under masks
drawn from these. Each second step is followed by one of the ratios: the gradient of the loss on
other data goes straight through the drawn masks to the probabilities and on to α. β₂ rises all the
while, so that a soft choice ends as a hard one. The budgets are approached over the first part, and
from there on the ratios move less and less, down to nothing at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from onnxprune.core.search import SearchOptions, SearchPoint, SearchRecord
from onnxprune.trial.keep import Importance

__all__ = ["KeepRatios", "Learner", "search"]

Floats = NDArray[np.float64]
Masks = Mapping[str, torch.Tensor]
OnPoint = Callable[[SearchPoint, int, float], None]
Weigh = Callable[[], Mapping[str, Floats]]
_POINTS = 60
_WEIGHED = 50
_SMOOTH = 0.95


class Learner(Protocol):
    """A model that learns while masks switch its channels, such as `onnxprune.trial.supernet.Supernet`."""

    @property
    def steps(self) -> int:
        """Steps of the weights that the search takes."""

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups that masks can switch."""

    def learn(self, masks: Masks) -> float:
        """Moves the weights one step under masks, group → float [channels]; returns the loss."""

    def loss(self, masks: Masks) -> torch.Tensor:
        """Returns the loss of other data under masks; gradients reach the masks."""


class KeepRatios(Protocol):
    """Keep ratios on their way, such as `onnxprune.allocate.ratios.Ratios`."""

    values: Floats

    def step(self, gradient: Floats, scale: float, rate: float = 1.0) -> None:
        """Moves the values against ∂L/∂α, float64 [groups], within `scale` of every limit, `rate` times as far."""

    def settle(self, scale: float) -> None:
        """Brings the values within `scale` of every limit."""

    def used(self) -> dict[str, float]:
        """Returns resource → share of its limit."""


def search(
    net: Learner,
    importances: Mapping[str, Floats],
    ratios: KeepRatios,
    options: SearchOptions,
    on_point: OnPoint = lambda *_: None,
    weigh: Weigh | None = None,
) -> SearchRecord:
    """Moves `ratios` to where the budgets hold and the loss is low; returns how it went.

    Args:
        net: What learns.
        importances: Group → importance, float64 [channels]; below zero where a channel is gone already.
            One entry for each of the ratios, in their order, which are shares of what is not gone.
        ratios: Start of the search, and its result.
        options: How to search.
        on_point: Called now and then with where the search stands, its steps in all, and the seconds left.
        weigh: Gives importances of the weights as they are by then, in the same form; asked now and then,
            where `importances` only tell which channels are gone.
    """
    run = _Run(net, importances, ratios, options, on_point, weigh)
    run.go()
    return SearchRecord(tuple(run.points), net.steps, time.perf_counter() - run.began)


class _Run:
    """One search."""

    def __init__(
        self,
        net: Learner,
        importances: Mapping[str, Floats],
        ratios: KeepRatios,
        options: SearchOptions,
        on_point: OnPoint,
        weigh: Weigh | None,
    ) -> None:
        self._net, self._ratios, self._options, self._on_point = net, ratios, options, on_point
        self._weigh = weigh
        self._left = {name: values >= 0 for name, values in importances.items()}
        self._places = {name: torch.from_numpy(np.flatnonzero(there)) for name, there in self._left.items()}
        self._sizes = {name: len(there) for name, there in self._left.items()}
        self._importance = self._of_what_is_left(importances)
        self._generator = torch.Generator().manual_seed(options.seed)
        self.points: list[SearchPoint] = []
        self._loss, self.began = float("nan"), time.perf_counter()

    def go(self) -> None:
        """Searches."""
        options, steps = self._options, self._net.steps
        whole = max(1.0, *self._ratios.used().values())
        for step in range(steps):
            if self._weigh is not None and step % max(1, steps // _WEIGHED) == 0:
                self._importance = self._of_what_is_left(self._weigh())
            done = step / steps
            steepness = options.steepness[0] * (options.steepness[1] / options.steepness[0]) ** done
            scale = whole ** max(0.0, 1 - done / options.ramp) if options.ramp else 1.0
            # gradients of a few samples scatter; ratios come to rest once the budgets are reached
            rate = min(1.0, (1 - done) / (1 - options.ramp)) if options.ramp < 1 else 1.0
            moves = step % options.every == options.every - 1 and done >= options.warmup
            ratios = torch.from_numpy(self._ratios.values).requires_grad_(moves)
            probabilities = self._importance.probabilities(ratios, steepness)
            loss = self._net.learn({name: mask.detach() for name, mask in self._draw(probabilities).items()})
            self._loss = loss if step == 0 else _SMOOTH * self._loss + (1 - _SMOOTH) * loss
            if moves:
                # ∂L/∂α on data that the weights do not see, under masks of its own
                (gradient,) = torch.autograd.grad(self._net.loss(self._draw(probabilities)), ratios)
                self._ratios.step(np.nan_to_num(gradient.numpy(), nan=0.0, posinf=0.0, neginf=0.0), scale, rate)
            if step == steps - 1:
                self._ratios.settle(1.0)
            self._tell(step, probabilities)

    def _of_what_is_left(self, importances: Mapping[str, Floats]) -> Importance:
        return Importance({name: importances[name][there] for name, there in self._left.items()})

    def _draw(self, probabilities: Masks) -> dict[str, torch.Tensor]:
        """Masks of whole groups; gradients go straight through to the probabilities."""
        masks = {}
        for name, p in probabilities.items():
            if name not in self._net.groups:
                continue
            held = p.detach()
            if self._options.masks == "bernoulli":
                held = torch.bernoulli(held, generator=self._generator)
                held[int(p.detach().argmax())] = 1.0  # without any channel a group would cut the net in two
            masks[name] = p.new_zeros(self._sizes[name]).index_put((self._places[name],), held + (p - p.detach()))
        return masks

    def _tell(self, step: int, probabilities: Masks) -> None:
        steps = self._net.steps
        if step % max(1, steps // _POINTS) and step < steps - 1:
            return
        doubts = torch.cat([4 * p.detach() * (1 - p.detach()) for p in probabilities.values()])
        ratios = dict(zip(self._places, self._ratios.values.tolist(), strict=True))
        self.points.append(SearchPoint(step + 1, self._loss, self._ratios.used(), float(doubts.mean()), ratios))
        passed = time.perf_counter() - self.began
        self._on_point(self.points[-1], steps, passed / (step + 1) * (steps - step - 1))
