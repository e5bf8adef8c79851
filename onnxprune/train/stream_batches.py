"""A batch of the user's code, checked and turned into rows that a model reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxprune.core.errors import DataError
from onnxprune.graph import TensorSpec
from onnxprune.train.columns import Normalization, make_column
from onnxprune.train.found import LABELS
from onnxprune.train.label_checks import LabelKind, check_labels
from onnxprune.train.samples import Batch

__all__ = ["BatchReader", "Rows"]

AnyArray = NDArray[Any]
_FORMS = (
    "A batch is a mapping from input names to arrays, with `labels` where there are any, or a tuple of the inputs in "
    "the model's order, with labels as one more"
)


@dataclass(frozen=True)
class Rows:
    """Some samples on their way from the user's code.

    Attributes:
        inputs: Input name → array [rows, …] as the model reads it.
        labels: [rows, …], or None.
        notes: What was decided for the user.
    """

    inputs: dict[str, AnyArray]
    labels: AnyArray | None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def __getitem__(self, chosen: slice | NDArray[np.intp]) -> Rows:
        """Returns some of the rows."""
        labels = None if self.labels is None else self.labels[chosen]
        return Rows({name: array[chosen] for name, array in self.inputs.items()}, labels)

    def batch(self, positions: NDArray[np.intp]) -> Batch:
        """Returns the rows as a batch, at positions of the set."""
        return Batch(self.inputs, self.labels, positions)

    @staticmethod
    def join(parts: Sequence[Rows]) -> Rows:
        """Returns rows one after the other; they are alike."""
        if len(parts) == 1:
            return parts[0]
        labels = [part.labels for part in parts if part.labels is not None]
        return Rows(
            {name: np.concatenate([part.inputs[name] for part in parts]) for name in parts[0].inputs},
            np.concatenate(labels) if labels else None,
        )


@dataclass(frozen=True)
class BatchReader:
    """Makes rows of batches.

    Attributes:
        where: What messages call the code.
        inputs: The model's inputs.
        normalization: For uint8 images.
        outputs: The model's outputs; labels are checked against them.
        labels: What labels are.
    """

    where: str
    inputs: tuple[TensorSpec, ...]
    normalization: Normalization
    outputs: tuple[TensorSpec, ...]
    labels: LabelKind

    def read(self, number: int, batch: Any) -> Rows:
        """Returns a batch as rows in memory of their own.

        Args:
            number: Counts the batches of a pass from 1.
            batch: What the code gave.

        Raises:
            DataError: when it does not fit the model.
        """
        what = f"{self.where}, batch {number}"
        given, notes = self._named(what, batch)
        arrays = {name: _array(f"{what}, {_called(name)}", value) for name, value in given.items()}
        if len({len(array) for array in arrays.values()}) > 1:
            listed = ", ".join(f"{_called(name)}: {len(array)}" for name, array in arrays.items())
            raise DataError(
                f"{what}: arrays have different numbers of samples ({listed}). Each needs the same first axis."
            )
        values: dict[str, AnyArray] = {}
        for spec in self.inputs:
            array = arrays[spec.name]
            column, told = make_column(f"{what}, {_called(spec.name)}", array, spec, self.normalization)
            values[spec.name] = column.convert(array)
            notes += told
        labels = arrays.get(LABELS)
        if labels is not None:
            labels = np.array(check_labels(what, labels, self.outputs, self.labels))
        return Rows(values, labels, tuple(note.replace(what, self.where) for note in notes))

    def check_alike(self, number: int, rows: Rows, first: Rows) -> None:
        """Checks that rows can be joined with those of the first batch.

        Raises:
            DataError: when the shape of a sample differs, or only one of both has labels.
        """
        what = f"{self.where}, batch {number}"
        if (rows.labels is None) != (first.labels is None):
            has, had = ("no labels", "has some") if rows.labels is None else ("labels", "has none")
            raise DataError(f"{what} has {has}, and the first batch {had}. Give them always, or never.")
        pairs = {_called(name): (array, first.inputs[name]) for name, array in rows.inputs.items()}
        if rows.labels is not None and first.labels is not None:
            pairs[_called(LABELS)] = (rows.labels, first.labels)
        for name, (array, before) in pairs.items():
            if array.shape[1:] != before.shape[1:]:
                raise DataError(
                    f"{what}, {name}: samples have the shape {list(array.shape[1:])}, those of the first batch "
                    f"{list(before.shape[1:])}. Batches are cut anew for training: pad or resize to one shape."
                )

    def _named(self, what: str, batch: Any) -> tuple[dict[str, Any], list[str]]:
        """Returns input name → value, with `LABELS` where there are any, and notes."""
        names = [spec.name for spec in self.inputs]
        if isinstance(batch, Mapping):
            return self._from_mapping(what, dict(batch), names)
        if not isinstance(batch, tuple | list) and len(names) == 1 and hasattr(batch, "__array__"):
            return {names[0]: batch}, []
        if not isinstance(batch, tuple | list):
            raise DataError(f"{what} is of type {type(batch).__name__}. {_FORMS}.")
        if len(batch) not in (len(names), len(names) + 1):
            raise DataError(
                f"{what} has {len(batch)} parts, and the model has {len(names)} inputs ({', '.join(map(repr, names))})."
                f" {_FORMS}."
            )
        named = dict(zip(names, batch, strict=False))
        if len(batch) > len(names) and batch[-1] is not None:
            named[LABELS] = batch[-1]
        return named, []

    def _from_mapping(self, what: str, batch: dict[Any, Any], names: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
        labels = {LABELS: batch.pop(LABELS)} if LABELS in batch and LABELS not in names else {}
        labels = {name: value for name, value in labels.items() if value is not None}
        if all(name in batch for name in names):
            extra = [str(name) for name in batch if name not in names]
            told = [f"{what}: arrays that are no input of the model are ignored: {', '.join(extra)}."] if extra else []
            return {name: batch[name] for name in names} | labels, told
        if len(batch) == len(names) == 1:
            (found, value) = next(iter(batch.items()))
            return {names[0]: value} | labels, [f"{what}: {found!r} is used for input {names[0]!r}."]
        held = ", ".join(repr(name) for name in batch) or "none"
        raise DataError(
            f"{what} does not fit the model. Inputs of the model: {', '.join(map(repr, names))}; names found (beside "
            f"`{LABELS}`): {held}. {_FORMS}."
        )


def _called(name: str) -> str:
    return f"`{LABELS}`" if name == LABELS else f"input {name!r}"


def _array(what: str, value: Any) -> AnyArray:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        text = " ".join(str(error).split()).rstrip(".")
        raise DataError(
            f"{what} is of type {type(value).__name__} and no array: {text}. Give numpy arrays, or tensors on the CPU "
            "without gradient (tensor.detach().cpu())."
        ) from error
    if array.ndim == 0:
        raise DataError(f"{what} is a single value; expected an array whose first axis counts samples.")
    return array
