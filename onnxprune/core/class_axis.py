"""Which axis of an output holds classes, as the shape of the labels tells it."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["IGNORED_LABEL", "class_axis"]

IGNORED_LABEL = -100
"""The class index of positions that count for nothing."""

Dimension = int | str | None


def class_axis(output: Sequence[Dimension], labels: Sequence[Dimension], axis: int | None = None) -> int | None:
    """Returns the axis of `output` without which it has the shape of `labels`, or None where there is none.

    Logits [batch, classes] go with labels [batch]; tokens [batch, tokens, classes] with
    [batch, tokens]; images [batch, classes, height, width] with [batch, height, width]. Where
    two axes fit, tokens (three axes) have their classes last, images after the batch.

    Args:
        output: Shape of the output, batch first; what is no int fits anything.
        labels: Shape of the class indices, likewise. The size of the batch does not matter.
        axis: The axis of classes where it is known, counted from 0.
    """
    rank = len(output)
    if rank < 2 or rank != len(labels) + 1:
        return None
    usual = (rank - 1, 1) if rank <= 3 else (1, rank - 1)
    for found in usual if axis is None else (axis,):
        rest = (*output[1:found], *output[found + 1 :])
        if output[found] != 1 and all(map(_agree, rest, labels[1:])):
            return found
    return None


def _agree(a: Dimension, b: Dimension) -> bool:
    return not (isinstance(a, int) and isinstance(b, int)) or a == b
