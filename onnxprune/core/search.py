"""A search for keep ratios by gradient: how it goes and what it leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["LEARNING", "Constraint", "DescentOptions", "MaskKind", "SearchOptions", "SearchPoint", "SearchRecord"]

# names of the allocators that learn on data
LEARNING = ("dsa", "netadapt")

Constraint = Literal["elastic", "projected", "admm"]
MaskKind = Literal["bernoulli", "soft"]


@dataclass(frozen=True)
class SearchOptions:
    """How to search.

    Attributes:
        every: Steps of the weights for one of the ratios.
        steepness: β₂ at the beginning and at the end; it rises geometrically.
        ramp: Share of the search over which the budgets are approached, from the whole model down.
        warmup: Share of the search before the ratios move by their gradients.
        masks: "bernoulli": drawn anew in every step, with the straight-through gradient; "soft": the
            probabilities themselves.
        constraint: How budgets are held (`onnxprune.allocate.ratios`).
        seed: Draws the masks.
    """

    every: int = 2
    steepness: tuple[float, float] = (5.0, 60.0)
    ramp: float = 0.4
    warmup: float = 0.05
    masks: MaskKind = "bernoulli"
    constraint: Constraint = "elastic"
    seed: int = 0


@dataclass(frozen=True)
class DescentOptions:
    """How to go down step by step.

    Attributes:
        rounds: From the whole model to the budget.
        short_steps: Steps of the weights for each candidate of a round.
        judged: Batches that each candidate is judged on.
    """

    rounds: int = 24
    short_steps: int = 8
    judged: int = 8


@dataclass(frozen=True)
class SearchPoint:
    """Where a search stood.

    Attributes:
        step: Steps of the weights done by then.
        loss: Recent mean of the training loss under masks.
        used: Resource → share of its limit that the keep ratios use; above 1 it is exceeded.
        undecided: Mean of 4 p (1 − p) over all channels: 1 where every mask is a coin, 0 where all are settled.
        ratios: Group → keep ratio α in (0, 1].
    """

    step: int
    loss: float
    used: Mapping[str, float]
    undecided: float
    ratios: Mapping[str, float]


@dataclass(frozen=True)
class SearchRecord:
    """A search.

    Attributes:
        points: From the beginning to the end.
        steps: Steps of the weights in all.
        seconds: How long it took.
    """

    points: tuple[SearchPoint, ...]
    steps: int
    seconds: float = field(compare=False)
