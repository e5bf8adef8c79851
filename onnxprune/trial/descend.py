"""Going down to the budget step by step (NetAdapt, Yang et al., ECCV 2018).

In every round each group alone gives up as many channels as bring the cost to the round's target.
Each of these candidates is trained for a few steps from where the last round ended, and judged on data
that the weights do not see; the best one is where the next round begins.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from onnxprune.core.search import DescentOptions, SearchPoint

__all__ = ["Candidates", "Rewindable", "descend"]

Masks = Mapping[str, torch.Tensor]
Counts = Mapping[str, int]


class Rewindable(Protocol):
    """A learner that can go back, such as `onnxprune.trial.supernet.Supernet`."""

    def learn(self, masks: Masks) -> float:
        """Moves the weights one step under masks, group → float [channels]; returns the loss."""

    def score(self, masks: Masks, batches: int) -> float:
        """Returns the mean loss of the same batches of other data under masks."""

    def snapshot(self) -> object:
        """Returns all that learning changes."""

    def rewind(self, snapshot: object) -> None:
        """Goes back to a snapshot."""


class Candidates(Protocol):
    """What can be given up next, such as `onnxprune.allocate.netadapt` has it."""

    def of_round(self, number: int, counts: Counts) -> Mapping[str, int]:
        """Returns group → channels that it would keep, for groups that reach the round's target alone."""

    def used(self, counts: Counts) -> dict[str, float]:
        """Returns resource → share of its limit."""


def descend(
    net: Rewindable,
    importances: Mapping[str, NDArray[np.float64]],
    candidates: Candidates,
    options: DescentOptions,
    on_point: Callable[[SearchPoint, int, float], None] = lambda *_: None,
) -> list[tuple[str, int]]:
    """Returns the way down: (group, channels that it keeps from then on), round by round.

    Args:
        net: What learns.
        importances: Group → importance, float64 [channels]; the lowest go first, below zero are gone already.
        candidates: Says what can go.
        options: How to go.
        on_point: Called after every round with where it stands, the rounds in all, and the seconds left.
    """
    order = {name: np.argsort(-values, kind="stable") for name, values in importances.items()}
    counts = {name: int((values >= 0).sum()) for name, values in importances.items()}
    whole, way, began = dict(counts), list[tuple[str, int]](), time.perf_counter()

    def mask(name: str, kept: int) -> torch.Tensor:
        found = torch.zeros(len(order[name]))
        found[torch.from_numpy(order[name][:kept].copy())] = 1.0
        return found

    masks = {name: mask(name, kept) for name, kept in counts.items()}
    for number in range(options.rounds):
        start, best = net.snapshot(), None
        for name, kept in candidates.of_round(number, counts).items():
            net.rewind(start)
            trial = {**masks, name: mask(name, kept)}
            for _ in range(options.short_steps):
                net.learn(trial)
            loss = net.score(trial, options.judged)
            if best is None or loss < best[0]:
                best = (loss, name, kept, net.snapshot())
        if best is None:
            continue
        loss, name, kept, state = best
        net.rewind(state)
        counts[name], masks[name] = kept, mask(name, kept)
        way.append((name, kept))
        point = SearchPoint(
            number + 1, loss, candidates.used(counts), 0.0, {name: counts[name] / whole[name] for name in whole}
        )
        passed = time.perf_counter() - began
        on_point(point, options.rounds, passed / (number + 1) * (options.rounds - number - 1))
    return way
