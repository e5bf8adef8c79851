"""The matrices of a network that a search serves at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from onnxprune.core.errors import InternalError
from onnxprune.tiles.arrays import Floats
from onnxprune.tiles.axis import Segment, axis_length
from onnxprune.tiles.pattern import Pattern

__all__ = ["Member", "variable_sizes"]


@dataclass(frozen=True, eq=False)
class Member:
    """One weight of the network, as the search sees it.

    Attributes:
        name: Unique among the members of a search.
        saliency: X, float64 [K, N], finite, not negative; see `onnxprune.tiles.saliency`.
        rows: The input axis, K in all.
        columns: The output axis, N in all.
        pattern: Which entries may stay.
        weight: How much the member's mass counts beside that of others; above zero.

    Raises:
        InternalError: when the axes do not have the saliency's shape, or a value is not usable.
    """

    name: str
    saliency: Floats
    rows: tuple[Segment, ...]
    columns: tuple[Segment, ...]
    pattern: Pattern
    weight: float = 1.0

    def __post_init__(self) -> None:
        shape = (axis_length(self.rows), axis_length(self.columns))
        if self.saliency.shape != shape:
            raise InternalError(f"member {self.name!r} has axes of {shape}, but a saliency of {self.saliency.shape}")
        if not np.isfinite(self.saliency).all() or (self.saliency < 0).any():
            raise InternalError(f"the saliency of member {self.name!r} must be finite and not negative")
        if not 0 < self.weight < float("inf"):
            raise InternalError(f"member {self.name!r} has the weight {self.weight}")


def variable_sizes(members: Iterable[Member]) -> dict[str, int]:
    """Returns variable → number of channels, in the order in which the members name them.

    Raises:
        InternalError: when two segments disagree about a variable, or two members have one name.
    """
    sizes: dict[str, int] = {}
    names: set[str] = set()
    for member in members:
        if member.name in names:
            raise InternalError(f"two members are called {member.name!r}")
        names.add(member.name)
        for segment in (*member.rows, *member.columns):
            if segment.variable is not None and sizes.setdefault(segment.variable, segment.size) != segment.size:
                raise InternalError(
                    f"member {member.name!r} gives variable {segment.variable!r} {segment.size} channels, "
                    f"others {sizes[segment.variable]}"
                )
    return sizes
