"""Padding arithmetic that convolutions and pools share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from onnxprune.ops.base import attribute

__all__ = ["Window", "flat_pads", "same_pads", "window"]


@dataclass(frozen=True)
class Window:
    """A sliding window over `rank` spatial axes.

    Attributes:
        kernel: Kernel size per axis.
        strides: Stride per axis.
        dilations: Dilation per axis.
        auto_pad: "NOTSET", "VALID", "SAME_UPPER" or "SAME_LOWER".
        pads: Explicit padding, all begins then all ends.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    auto_pad: str
    pads: tuple[int, ...]

    def padding(self, sizes: Sequence[int]) -> tuple[list[int], list[int]]:
        """Returns the padding before and after each axis for an input of the given sizes."""
        rank = len(self.kernel)
        if self.auto_pad in ("NOTSET", ""):
            return list(self.pads[:rank]), list(self.pads[rank:])
        if self.auto_pad == "VALID":
            return [0] * rank, [0] * rank
        return same_pads(sizes, self.kernel, self.strides, self.dilations, lower=self.auto_pad == "SAME_LOWER")


def window(node: gs.Node, kernel: Sequence[int]) -> Window:
    """Returns the window that a node's attributes describe, with defaults filled in."""
    rank = len(kernel)
    return Window(
        kernel=tuple(kernel),
        strides=tuple(attribute(node, "strides", [1] * rank)),
        dilations=tuple(attribute(node, "dilations", [1] * rank)),
        auto_pad=str(attribute(node, "auto_pad", "NOTSET")),
        pads=tuple(attribute(node, "pads", [0] * 2 * rank)),
    )


def same_pads(
    sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], *, lower: bool
) -> tuple[list[int], list[int]]:
    """Returns the padding that makes the output size ceil(size / stride); the odd one goes last, or first."""
    before, after = [], []
    for size, k, s, d in zip(sizes, kernel, strides, dilations, strict=True):
        whole = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
        small, large = whole // 2, whole - whole // 2
        before.append(large if lower else small)
        after.append(small if lower else large)
    return before, after


def flat_pads(before: Sequence[int], after: Sequence[int]) -> list[int]:
    """Returns padding in torch's order: last axis first, begin and end together."""
    return [p for pair in zip(reversed(before), reversed(after), strict=True) for p in pair]
