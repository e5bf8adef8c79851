"""One model input's samples as they are stored, and their way into what the model reads.

uint8 images stay uint8 until a batch is asked for; then, with mean m and standard deviation s
in 0–1 units, x = (pixel / 255 − m) / s = pixel · a + b with a = 1 / (255 s), b = −m / s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxprune.core.errors import DataError
from onnxprune.graph import TensorSpec
from onnxprune.graph.values import is_float
from onnxprune.train.layout import Layout, array_layout, image_layout
from onnxprune.train.stored import Stored, chunk_rows

__all__ = ["Column", "Normalization", "make_column"]

AnyArray = NDArray[Any]
Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Normalization:
    """What turns pixels in [0, 1] into model inputs: (x − mean) / std.

    Attributes:
        mean: One number, or one per channel; None where the user gave none.
        std: Likewise.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @classmethod
    def of(cls, mean: float | Sequence[float] | None, std: float | Sequence[float] | None) -> Normalization:
        """Returns the normalisation for numbers or sequences of numbers.

        Raises:
            DataError: when a standard deviation is not positive, or a number is not finite.
        """
        numbers = [None if v is None else tuple(np.atleast_1d(np.asarray(v, float)).tolist()) for v in (mean, std)]
        for word, found in zip(("mean", "std"), numbers, strict=True):
            if found is not None and not (found and np.isfinite(found).all()):
                raise DataError(f"image {word} = {found}: give one finite number, or one per channel, in 0-1 units.")
        if numbers[1] is not None and min(numbers[1]) <= 0:
            raise DataError(f"image std = {numbers[1]}: a standard deviation is greater than zero (in 0-1 units).")
        return cls(numbers[0], numbers[1])

    def __bool__(self) -> bool:
        return self.mean is not None or self.std is not None


@dataclass(frozen=True)
class Column:
    """The samples of one input.

    Attributes:
        name: The input's name.
        array: As stored: [samples, …].
        dtype: What the model reads.
        layout: How a stored batch is turned.
        scale: float32, broadcasts over a batch as the model reads it; None where values are
            taken as they are.
        shift: Likewise.
    """

    name: str
    array: Stored
    dtype: np.dtype[Any]
    layout: Layout
    scale: Float32 | None = None
    shift: Float32 | None = None

    def take(self, rows: NDArray[np.intp]) -> AnyArray:
        """Returns a batch as the model reads it: dtype [rows, *layout.shape]."""
        return self.convert(self.array[rows])

    def convert(self, stored: AnyArray) -> AnyArray:
        """Returns stored samples as the model reads them, in memory of their own."""
        if self.layout.order is not None:
            stored = stored.transpose(self.layout.order)
        stored = stored.reshape(len(stored), *self.layout.shape)
        if self.scale is None or self.shift is None:
            return np.array(stored, dtype=self.dtype, order="C")
        batch = stored.astype(np.float32, order="C")
        batch *= self.scale
        batch += self.shift
        return batch.astype(self.dtype, copy=False)


def make_column(
    what: str, array: Stored, spec: TensorSpec, normalization: Normalization
) -> tuple[Column, tuple[str, ...]]:
    """Returns the column of one input, and what the user should know about it.

    Args:
        what: Names the array in messages.
        array: The samples, first axis first.
        spec: What the model reads.
        normalization: For uint8 arrays that go into a float input.

    Raises:
        DataError: when shape, element type or values do not fit.
    """
    target = spec.dtype if spec.dtype is not None else array.dtype
    _check_kind(what, array, spec.name, target)
    sample = tuple(array.shape[1:])
    if array.dtype == np.uint8 and is_float(target):
        layout = image_layout(what, sample, spec)
        scale, shift = _pixel_map(what, layout, normalization)
        notes = [layout.note] if layout.note else []
        if not normalization:
            notes.append(
                f"{what}: uint8 values are divided by 255 and otherwise left alone. Where the model wants them "
                "normalised, give image mean and std."
            )
        return Column(spec.name, array, target, layout, scale, shift), tuple(notes)
    layout = array_layout(what, sample, spec)
    _check_values(what, array, spec.name, target)
    notes = []
    if normalization and is_float(target):
        notes.append(f"{what}: image mean and std are for uint8 images; {array.dtype} values are used as they are.")
    if array.dtype.kind in "iu" and is_float(target):
        notes.append(f"{what}: {array.dtype} values become {target} unscaled.")
    return Column(spec.name, array, target, layout), tuple(notes)


def _check_kind(what: str, array: Stored, name: str, target: np.dtype[Any]) -> None:
    kind = "f" if is_float(target) else target.kind
    own = "f" if is_float(array.dtype) else array.dtype.kind  # numpy calls bfloat16 void
    if own not in {"f": "fiub", "i": "iub", "u": "iub", "b": "iub"}.get(kind, ""):
        raise DataError(
            f"{what} has element type {array.dtype}; input {name!r} reads {target}. Store the array as {target}"
            + (", or as uint8 for images." if kind == "f" else ".")
        )


def _check_values(what: str, array: Stored, name: str, target: np.dtype[Any]) -> None:
    """Checks chunk by chunk, since the array may lie on disk."""
    step = chunk_rows(array)
    for start in range(0, len(array), step):
        part = array[start : start + step]
        if is_float(part.dtype):
            good = np.isfinite(part)
            if not good.all():
                first = start + int(np.argwhere(~good)[0][0])
                raise DataError(
                    f"{what} holds NaN or infinity, first in sample {first}. Repair or remove such samples."
                )
        elif target.kind in "iu" and part.dtype.kind in "iu":
            limits = np.iinfo(target)
            low, high = int(part.min()), int(part.max())
            if low < limits.min or high > limits.max:
                raise DataError(f"{what} holds values in {low}..{high}; input {name!r} reads {target}.")


def _pixel_map(what: str, layout: Layout, normalization: Normalization) -> tuple[Float32, Float32]:
    """The factor a and the offset b of every channel."""
    channels = 1 if layout.channel_axis is None else layout.shape[layout.channel_axis - 1]
    vectors: list[NDArray[np.float64]] = []
    for word, numbers, default in (("mean", normalization.mean, 0.0), ("std", normalization.std, 1.0)):
        vector = np.array(numbers if numbers is not None else (default,))
        if len(vector) not in (1, channels):
            raise DataError(
                f"{what}: image {word} has {len(vector)} numbers, the samples have "
                f"{channels} channel{'' if channels == 1 else 's'}. Give one number, or one per channel."
            )
        vectors.append(vector.reshape(-1, 1, 1) if len(vector) > 1 and layout.channel_axis == 1 else vector)
    mean, std = vectors
    return (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)
