"""Axes that permutation variables govern, wholly or in part.

An axis is a row of segments. A segment of length outer·size·inner is permuted in its middle factor: with
order o of its variable, position (a, j, b) holds the original (a, o[j], b). Flatten after a feature map gives
inner = H·W; attention heads that move as one give inner = head size, channels inside each head give
outer = heads; a concatenation gives several segments. A segment without variable stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from onnxprune.core.errors import InternalError
from onnxprune.tiles.arrays import Indices

__all__ = ["Segment", "axis_length", "axis_order"]


@dataclass(frozen=True)
class Segment:
    """A run of an axis.

    Attributes:
        variable: Name of the permutation variable; None where nothing may move.
        size: Channels that the variable orders.
        outer: How often the channels are listed, one list after the other.
        inner: Neighbouring entries that belong to one channel.
    """

    variable: str | None
    size: int
    outer: int = 1
    inner: int = 1

    def __post_init__(self) -> None:
        if min(self.size, self.outer, self.inner) < 1:
            raise InternalError(f"a segment has no room: {self}")

    @property
    def length(self) -> int:
        """Entries of the axis."""
        return self.outer * self.size * self.inner

    def places(self) -> Indices:
        """Returns the entries of each channel, counted from the segment's start: int64 [size, outer·inner]."""
        grid = np.arange(self.length, dtype=np.int64).reshape(self.outer, self.size, self.inner)
        return grid.transpose(1, 0, 2).reshape(self.size, -1)


def axis_length(segments: tuple[Segment, ...]) -> int:
    """Returns the length of an axis."""
    return sum(segment.length for segment in segments)


def axis_order(segments: tuple[Segment, ...], orders: Mapping[str, Indices]) -> Indices:
    """Returns which original entry stands at each position of an axis, int64 [length].

    Args:
        segments: The axis.
        orders: Variable → which channel stands at each position, int64 [size].
    """
    parts, start = [], 0
    for segment in segments:
        grid = np.arange(start, start + segment.length, dtype=np.int64)
        if segment.variable is not None:
            shaped = grid.reshape(segment.outer, segment.size, segment.inner)
            grid = shaped[:, orders[segment.variable]].reshape(-1)
        parts.append(grid)
        start += segment.length
    return np.concatenate(parts)
