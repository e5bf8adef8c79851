"""Which class comes first, and where the label stands, position by position."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onnxprune.core.class_axis import IGNORED_LABEL
from onnxprune.core.errors import DataError
from onnxprune.runtime.values import AnyArray

__all__ = ["check_labels", "label_ranks", "winners"]

_CHUNK_VALUES = 2**22


def winners(logits: AnyArray, axis: int) -> NDArray[np.intp]:
    """Returns the first class of each position, the smaller index of equals, -1 where a score is NaN.

    Args:
        logits: Floating [rows, …] with classes along `axis`.
        axis: Where the classes are.
    """
    return np.where(np.isnan(logits).any(axis=axis), -1, logits.argmax(axis=axis))


def check_labels(logits: AnyArray, labels: AnyArray, axis: int) -> None:
    """Checks labels against the logits they speak of.

    Raises:
        DataError: when they are no integers, of another shape, or out of range.
    """
    shape = (*logits.shape[:axis], *logits.shape[axis + 1 :])
    if labels.shape != shape or labels.dtype.kind not in "iu":
        each = "row" if len(shape) == 1 else "position"
        raise DataError(
            f"Labels are {labels.dtype} {list(labels.shape)}; expected integers {list(shape)}, one for each {each}."
        )
    classes = logits.shape[axis]
    wrong = labels[((labels < 0) | (labels >= classes)) & (labels != IGNORED_LABEL)]
    if wrong.size:
        raise DataError(f"Label {wrong[0]} is out of range; the model has {classes} classes (0..{classes - 1}).")


def label_ranks(logits: AnyArray, labels: AnyArray, axis: int) -> NDArray[np.intp]:
    """Returns how many classes come before the label, for each position whose label counts: intp [positions].

    Args:
        logits: Floating [rows, …] with classes along `axis`.
        labels: Integers of the same shape without that axis, in range or `IGNORED_LABEL`.
        axis: Where the classes are.
    """
    flat = np.moveaxis(logits, axis, -1).reshape(-1, logits.shape[axis])
    wanted = labels.reshape(-1)
    counted = np.flatnonzero(wanted != IGNORED_LABEL)
    step = max(_CHUNK_VALUES // max(flat.shape[1], 1), 1)  # images have many positions: a few at a time
    parts = [
        _ranks(flat[at], wanted[at]) for at in (counted[start : start + step] for start in range(0, len(counted), step))
    ]
    return np.concatenate(parts) if parts else np.zeros(0, np.intp)


def _ranks(logits: AnyArray, labels: AnyArray) -> NDArray[np.intp]:
    n, classes = logits.shape
    own = logits[np.arange(n), labels][:, None]
    earlier = np.arange(classes)[None, :] < labels[:, None]
    rank: NDArray[np.intp] = ((logits > own) | ((logits == own) & earlier)).sum(axis=1)
    return np.where(np.isnan(logits).any(axis=1), classes, rank)
