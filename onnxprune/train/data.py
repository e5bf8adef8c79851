"""Training and evaluation data: samples for each model input, and labels where there are any.

This module needs numpy only, so evaluation in onnxruntime uses it as retraining does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxprune.core.errors import DataError
from onnxprune.graph import TensorSpec
from onnxprune.graph.values import is_float
from onnxprune.train.columns import Column, Normalization, make_column
from onnxprune.train.sources import UNNAMED, Source, read_arrays

__all__ = ["LABELS", "Batch", "Dataset", "class_count", "open_data"]

LABELS = "labels"
"""Name of the array that holds one class index per sample."""

AnyArray = NDArray[Any]


@dataclass(frozen=True)
class Batch:
    """Some samples.

    Attributes:
        inputs: Input name → array [rows, …] in the model's element type and layout.
        labels: int64 [rows], or None.
        rows: intp [rows]: which samples of the dataset these are.
    """

    inputs: dict[str, AnyArray]
    labels: NDArray[np.int64] | None
    rows: NDArray[np.intp]


@dataclass(frozen=True)
class Dataset:
    """Samples that fit a model.

    Attributes:
        columns: One per model input.
        labels: int64 [samples], or None.
        notes: What was decided for the user and should be said aloud.
        rows: intp: the samples of the columns that belong to this set.
    """

    columns: tuple[Column, ...]
    labels: NDArray[np.int64] | None
    notes: tuple[str, ...] = ()
    rows: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, np.intp))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the model inputs that the set serves."""
        return tuple(column.name for column in self.columns)

    def batch(self, positions: NDArray[np.intp]) -> Batch:
        """Returns the samples at the given positions of this set, in that order."""
        rows = self.rows[positions]
        labels = None if self.labels is None else self.labels[rows]
        return Batch({column.name: column.take(rows) for column in self.columns}, labels, positions)

    def batches(
        self, batch_size: int, *, shuffle: np.random.Generator | None = None, drop_last: bool = False
    ) -> Iterator[Batch]:
        """Yields the whole set, batch by batch.

        Args:
            batch_size: Samples per batch.
            shuffle: Gives a new order; None keeps the stored one.
            drop_last: Leaves out a last batch that is smaller.
        """
        order = np.arange(len(self), dtype=np.intp)
        if shuffle is not None:
            shuffle.shuffle(order)
        stop = len(order) - len(order) % batch_size if drop_last else len(order)
        for start in range(0, stop, batch_size):
            yield self.batch(order[start : start + batch_size])

    def calibration(self, samples: int, rng: np.random.Generator, batch_size: int = 128) -> tuple[Batch, ...]:
        """Returns batches of up to `samples` samples, drawn without repeats."""
        drawn = rng.permutation(len(self))[:samples].astype(np.intp)
        return tuple(self.batch(drawn[start : start + batch_size]) for start in range(0, len(drawn), batch_size))

    def split(self, share: float, rng: np.random.Generator) -> tuple[Dataset, Dataset]:
        """Returns two disjoint sets, the second with `share` of the samples (at least one)."""
        order = rng.permutation(len(self))
        count = min(max(round(len(self) * share), 1), len(self) - 1)
        first, second = np.sort(order[count:]), np.sort(order[:count])
        return (
            Dataset(self.columns, self.labels, self.notes, self.rows[first]),
            Dataset(self.columns, self.labels, self.notes, self.rows[second]),
        )


def class_count(outputs: Sequence[TensorSpec]) -> int | None:
    """Returns the number of classes of the first output of shape [batch, classes], or None."""
    for spec in outputs:
        if spec.shape is not None and len(spec.shape) == 2 and spec.dtype is not None and is_float(spec.dtype):
            return spec.shape[1] if isinstance(spec.shape[1], int) and spec.shape[1] > 1 else None
    return None


def open_data(
    source: Source,
    inputs: Sequence[TensorSpec],
    *,
    image_mean: float | Sequence[float] | None = None,
    image_std: float | Sequence[float] | None = None,
    outputs: Sequence[TensorSpec] = (),
) -> Dataset:
    """Returns the samples at `source`, checked against the model.

    Args:
        source: Path of an .npz or .npy file, or a mapping from names to arrays.
        inputs: The model's inputs.
        image_mean: Subtracted from pixels / 255 of uint8 arrays; per channel or one for all.
        image_std: Divides them afterwards.
        outputs: The model's outputs; labels are checked against the number of classes.

    Raises:
        DataError: when the data cannot be read or do not fit the model; says what fits.
    """
    where, arrays = read_arrays(source)
    labels = arrays.pop(LABELS, None)
    chosen, notes = _assign(where, arrays, inputs)
    checked = {what: array for _, what, array in chosen}
    if labels is not None:
        checked[f"{where}, `{LABELS}`"] = labels
    _check_counts(checked)
    normalization = Normalization.of(image_mean, image_std)
    columns: list[Column] = []
    for spec, what, array in chosen:
        column, told = make_column(what, array, spec, normalization)
        columns.append(column)
        notes.extend(told)
    indices = None if labels is None else _class_indices(where, labels, class_count(outputs))
    return Dataset(tuple(columns), indices, tuple(notes), np.arange(len(columns[0].array), dtype=np.intp))


def _assign(
    where: str, arrays: dict[str, AnyArray], inputs: Sequence[TensorSpec]
) -> tuple[list[tuple[TensorSpec, str, AnyArray]], list[str]]:
    """Pairs inputs with arrays: (input, what messages call the array, the array), and notes."""
    wanted = [spec.name for spec in inputs]
    if not wanted:
        raise DataError("The model has no inputs, so there is nothing to feed data into.")
    if all(name in arrays for name in wanted):
        ignored = sorted(set(arrays) - set(wanted))
        notes = (
            [f"{where}: arrays that are no input of the model are ignored: {', '.join(ignored)}."] if ignored else []
        )
        return [(spec, f"{where}, array {spec.name!r}", arrays[spec.name]) for spec in inputs], notes
    if len(arrays) == 1 and len(wanted) == 1:
        name, array = next(iter(arrays.items()))
        if name == UNNAMED:
            return [(inputs[0], where, array)], []
        return [(inputs[0], f"{where}, array {name!r}", array)], [
            f"{where}: array {name!r} is used for input {wanted[0]!r}."
        ]
    held = ", ".join(repr(name) for name in arrays if name) or ("one without a name" if arrays else "none")
    raise DataError(
        f"{where} does not fit the model. Inputs of the model: {', '.join(map(repr, wanted))}; arrays found (beside "
        f"`{LABELS}`): {held}. Name one array after each input."
    )


def _check_counts(arrays: dict[str, AnyArray]) -> None:
    for what, array in arrays.items():
        if array.ndim == 0 or array.size == 0:
            raise DataError(f"{what}: the array of shape {list(array.shape)} is empty. Give at least one sample.")
    if len({len(array) for array in arrays.values()}) > 1:
        listed = "; ".join(f"{what}: {len(array)}" for what, array in arrays.items())
        raise DataError(f"Arrays have different numbers of samples ({listed}). Each needs the same first axis.")


def _class_indices(where: str, labels: AnyArray, classes: int | None) -> NDArray[np.int64]:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(
            f"{where}: `{LABELS}` has element type {labels.dtype} and shape {list(labels.shape)}. Give one class index "
            "per sample: integers of shape [samples]."
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or (classes is not None and high >= classes):
        known = f"classes 0..{classes - 1}" if classes is not None else "classes from 0 up"
        raise DataError(f"{where}: `{LABELS}` lie in {low}..{high}, the model has {known}. Class indices start at 0.")
    return labels.astype(np.int64)
