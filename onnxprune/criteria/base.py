"""What a criterion is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from onnxprune.core.errors import UsageError
from onnxprune.core.group import Group, Member
from onnxprune.core.shares import normalised

if TYPE_CHECKING:
    from onnxprune.trial.probe import Probe

__all__ = ["Criterion", "Normalize", "Reduce", "ScoreContext", "Scores", "Unit"]

Unit = Literal["share", "rank", "loss"]
Reduce = Literal["mean", "max", "sum"]
Normalize = Literal["auto", "mean", "max", "gaussian", "none"]


@dataclass(frozen=True)
class ScoreContext:
    """What criteria may look at.

    Attributes:
        groups: Groups to score.
        read: Initializer name → its values.
        labels: (group name, member) → channel of the group at each position of the member's
            axis, int64 [axis size], -1 where a position does not belong to the group.
        seed: Seed of criteria that draw random numbers.
        data: What the model does on calibration data; None where there are no data.
        reduce: How several weights of one group are gathered (`onnxprune.criteria.pooling`).
        normalize: How groups are to compare; criteria only need to know whether at all.
    """

    groups: tuple[Group, ...]
    read: Callable[[str], NDArray[Any]]
    labels: Callable[[str, Member], NDArray[np.int64]]
    seed: int = 0
    data: Probe | None = None
    reduce: Reduce = "mean"
    normalize: Normalize = "auto"

    def share(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the values of a group over their mean, or as they are where they are wanted so."""
        return values if self.normalize == "none" else normalised(values)

    @property
    def probe(self) -> Probe:
        """What the model does on calibration data.

        Raises:
            UsageError: when there are no data.
        """
        if self.data is None:
            raise UsageError("This criterion looks at what the model does on data. Give --data, or choose magnitude.")
        return self.data


@dataclass(frozen=True)
class Scores:
    """The importance of every channel.

    Attributes:
        values: Group name → importance, float64 [size], finite, at least 0.
        notes: Sentences for the report.
        unit: "share": mean 1 within each group (all 0 where there is nothing to tell channels
            by), so that groups compare by how uneven they are; "rank": values compare between
            groups as they are; "loss": what a channel's removal adds to the loss or to the
            distance from the original, in one unit for all groups.
    """

    values: Mapping[str, NDArray[np.float64]]
    notes: tuple[str, ...] = ()
    unit: Unit = "share"


class Criterion(Protocol):
    """Scores channels: the lowest go first. Built without arguments."""

    def score(self, context: ScoreContext) -> Scores:
        """Returns the importance of every channel of every group."""
