"""Whether labels fit a model's outputs.

Class indices y [N] fit an output z [N, K]; y [N, …] fits a dense output that has one axis more,
its classes: [N, K, …] as in segmentation, or [N, …, K] as for tokens. All lie in 0..K − 1; a
dense label may also be −100, which counts for nothing (PyTorch's `ignore_index`).

Floating-point numbers in 0..1 fit an output of their own shape, [N, K] or more: a share for each class, or a
yes or no in each element. Here, too, −100 counts for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from onnxprune.core.class_axis import IGNORED_LABEL, class_axis
from onnxprune.core.errors import DataError
from onnxprune.graph import TensorSpec
from onnxprune.graph.values import is_float
from onnxprune.train.found import LABELS
from onnxprune.train.layout import fits
from onnxprune.train.stored import Stored, chunk_rows

__all__ = ["LabelKind", "check_labels", "class_count", "dense_axis", "dense_classes", "text_labels"]

LabelKind = Literal["classes", "any", "either"]
"""What labels are: of classes, or numbers that a loss of the user's reads; either where only a metric is the user's."""

AnyArray = NDArray[Any]


def class_count(outputs: Sequence[TensorSpec]) -> int | None:
    """Returns the number of classes of the first output of shape [batch, classes], or None."""
    for spec in outputs:
        if spec.shape is not None and len(spec.shape) == 2 and spec.dtype is not None and is_float(spec.dtype):
            return spec.shape[1] if isinstance(spec.shape[1], int) and spec.shape[1] > 1 else None
    return None


def dense_axis(labels: Sequence[int], output: Sequence[int | str | None]) -> int | None:
    """Returns `class_axis` of an output of three axes or more; None where labels do not fit, or are one a sample."""
    return class_axis(output, labels) if len(output) > 2 else None


def dense_classes(labels: Sequence[int], outputs: Sequence[TensorSpec]) -> tuple[str, int | None] | None:
    """Returns the name of the first output that dense labels fit and its number of classes (None: dynamic)."""
    for spec in outputs:
        if spec.shape is None or spec.dtype is None or not is_float(spec.dtype):
            continue
        axis = dense_axis(labels, spec.shape)
        if axis is not None:
            classes = spec.shape[axis]
            return spec.name, classes if isinstance(classes, int) else None
    return None


def check_labels(where: str, labels: Stored, outputs: Sequence[TensorSpec], kind: LabelKind) -> AnyArray:
    """Returns labels as training reads them.

    Args:
        where: What messages call the source.
        labels: As stored, samples first.
        outputs: The model's outputs.
        kind: "classes" gives int64 class indices that fit an output, or float32 shares of an
            output's shape; "any" leaves numbers as they are; "either" is "classes" where labels
            have such a shape and type, else "any".

    Raises:
        DataError: when they are text, of another type or shape, or out of range.
    """
    if labels.dtype.kind in "SUO":
        raise text_labels(where, np.asarray(labels[:1]).ravel()[0] if len(labels) else "")
    if kind == "any":
        return _numbers(where, labels)
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] == 1 and dense_classes(array.shape, outputs) is None:
        array = array[:, 0]
    dense = dense_classes(array.shape, outputs)
    if dense is None and array.ndim > 1 and array.dtype.kind == "f" and _is_alike(array.shape, outputs):
        if kind == "either" and not _are_shares(array):
            return _numbers(where, labels)
        return _shares(where, array)
    if array.dtype.kind not in "iu" or (array.ndim != 1 and dense is None):
        if kind == "either":
            return _numbers(where, labels)
        raise DataError(_misfit(where, array, outputs))
    if dense is None:
        _check_range(where, array, class_count(outputs))
    else:
        _check_range(where, array, dense[1], output=dense[0])
    return array.astype(np.int64, copy=False)


def _is_alike(labels: Sequence[int], outputs: Sequence[TensorSpec]) -> bool:
    """Returns whether an output has the shape of the labels."""
    return any(
        spec.shape is not None
        and len(spec.shape) == len(labels)
        and spec.dtype is not None
        and is_float(spec.dtype)
        and fits(labels[1:], spec.shape[1:])
        for spec in outputs
    )


def _are_shares(labels: AnyArray) -> bool:
    step = chunk_rows(labels)
    parts = (labels[start : start + step] for start in range(0, len(labels), step))
    return all(bool((((part >= 0) & (part <= 1)) | (part == IGNORED_LABEL)).all()) for part in parts)


def _shares(where: str, labels: AnyArray) -> AnyArray:
    if not _are_shares(labels):
        raise DataError(
            f"{where}: `{LABELS}` have the shape of an output, {list(labels.shape)}, and are numbers outside 0..1. One "
            f"number for each class or element lies in 0..1 ({IGNORED_LABEL} marks those to leave out). Labels of "
            "another meaning need a loss of your own."
        )
    return labels.astype(np.float32, copy=False)


def text_labels(where: str, example: Any) -> DataError:
    """Returns the error for labels that are words."""
    shown = repr(example.decode(errors="replace") if isinstance(example, bytes) else str(example))
    return DataError(
        f"{where}: `{LABELS}` holds text, such as {shown}. Give one class index per sample: integers from 0 to K - 1 "
        "in the order of the model's K classes. Where that is the order of the sorted names, they are "
        "numpy.unique(names, return_inverse=True)[1]."
    )


def _numbers(where: str, labels: Stored) -> AnyArray:
    if labels.dtype.kind not in "biuf":
        raise DataError(f"{where}: `{LABELS}` has element type {labels.dtype}. Give numbers.")
    array = np.asarray(labels)
    return array.astype(np.int64) if array.dtype.kind == "u" and array.dtype.itemsize > 1 else array


def _misfit(where: str, labels: AnyArray, outputs: Sequence[TensorSpec]) -> str:
    dense = [
        f"{spec.name!r} {['?' if size is None else size for size in spec.shape]}"
        for spec in outputs
        if spec.shape is not None and len(spec.shape) > 2
    ]
    hint = (
        f", or of the shape of output {' or '.join(dense)} without its axis of classes (second or last)"
        if dense
        else ""
    )
    return (
        f"{where}: `{LABELS}` has element type {labels.dtype} and shape {list(labels.shape)}. Give one class index per "
        f"sample: integers of shape [samples]{hint}; or floating-point numbers in 0..1 of the shape of an output, one "
        "for each class or element. Other labels need a loss of your own."
    )


def _check_range(where: str, labels: AnyArray, classes: int | None, *, output: str | None = None) -> None:
    step = chunk_rows(labels)
    for start in range(0, len(labels), step):
        part = labels[start : start + step]
        if output is not None:
            part = part[part != IGNORED_LABEL]
        if part.size == 0:
            continue
        low, high = int(part.min()), int(part.max())
        if low >= 0 and (classes is None or high < classes):
            continue
        of = f"output {output!r}" if output is not None else "the model"
        known = f"classes 0..{classes - 1}" if classes is not None else "classes from 0 up"
        spare = f" ({IGNORED_LABEL} marks positions to leave out)" if output is not None else ""
        raise DataError(f"{where}: `{LABELS}` lie in {low}..{high}, {of} has {known}{spare}. Class indices start at 0.")
