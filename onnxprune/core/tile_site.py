"""A weight that could be cut into tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["TileSite"]


@dataclass(frozen=True)
class TileSite:
    """A matrix product or convolution with constant weights.

    Attributes:
        node: Label of the node.
        weight: Name of the initializer.
        operator: What computes it once it is cut.
        input_axis: Axis of the weight that is contracted, length K.
        output_axis: Axis of the weight that is written, length N.
        inputs: K.
        outputs: N.
        taps: Positions of the kernel; 1 for a matrix.
        macs: MACs of one input sample while it is dense.
        spatial: Axes of a convolution's kernel; 0 for a matrix.
    """

    node: str
    weight: str
    operator: Literal["MatMul", "Conv"]
    input_axis: int
    output_axis: int
    inputs: int
    outputs: int
    taps: int
    macs: float
    spatial: int
