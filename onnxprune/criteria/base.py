"""What a criterion is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from onnxprune.core.group import Group, Member

__all__ = ["Criterion", "ScoreContext", "Scores"]


@dataclass(frozen=True)
class ScoreContext:
    """What criteria may look at.

    Attributes:
        groups: Groups to score.
        read: Initializer name → its values.
        labels: (group name, member) → channel of the group at each position of the member's
            axis, int64 [axis size], -1 where a position does not belong to the group.
        seed: Seed of criteria that draw random numbers.
    """

    groups: tuple[Group, ...]
    read: Callable[[str], NDArray[Any]]
    labels: Callable[[str, Member], NDArray[np.int64]]
    seed: int = 0


@dataclass(frozen=True)
class Scores:
    """The importance of every channel.

    Attributes:
        values: Group name → importance, float64 [size], finite, at least 0, with mean 1
            within each group (all 0 where there is nothing to tell channels by).
        notes: Sentences for the report.
    """

    values: Mapping[str, NDArray[np.float64]]
    notes: tuple[str, ...] = ()


class Criterion(Protocol):
    """Scores channels: the lowest go first. Built without arguments."""

    def score(self, context: ScoreContext) -> Scores:
        """Returns the importance of every channel of every group."""
