"""Concrete input arrays for a model whose dimensions are only named.

The dynamic dimension that leads an input is the batch. Dimensions of one name have one size
everywhere; a dimension without a name is its own, and one called "past + sequence" is the sum of
the two. Floating inputs are drawn from N(0, 1), integers from {0, 1} unless another range is asked
for (a valid index into any table of two rows, and a valid mask), booleans are true.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxprune.core.errors import DataError
from onnxprune.graph import TensorSpec
from onnxprune.runtime.values import AnyArray

__all__ = ["DynamicDims", "check_sample", "choose_feeds", "dynamic_dims", "symbol", "symbol_sizes"]


@dataclass(frozen=True)
class DynamicDims:
    """The dynamic dimensions of a model's inputs, by symbol.

    Attributes:
        batch: Those that lead an input.
        other: The rest, in order of appearance.
    """

    batch: tuple[str, ...]
    other: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.batch or self.other)


def symbol(spec: TensorSpec, axis: int) -> str | None:
    """Returns what a dynamic dimension is called, "tokens[1]" where it has no name; None for a static one."""
    dim = _shape(spec)[axis]
    if isinstance(dim, int):
        return None
    return dim or f"{spec.name}[{axis}]"


def dynamic_dims(model_inputs: Sequence[TensorSpec]) -> DynamicDims:
    """Returns the dynamic dimensions of `model_inputs`.

    Raises:
        DataError: when an input has no known rank.
    """
    batch: dict[str, None] = {}
    other: dict[str, None] = {}
    for spec in model_inputs:
        for axis in range(len(_shape(spec))):
            name = symbol(spec, axis)
            if name is not None:
                (other if axis else batch).setdefault(name)
    return DynamicDims(tuple(batch), tuple(n for n in other if n not in batch))


def choose_feeds(
    model_inputs: Sequence[TensorSpec],
    *,
    batch: int,
    other: int | None,
    rng: np.random.Generator,
    sample: Mapping[str, AnyArray] | None = None,
    sizes: Mapping[str, int] | None = None,
    integers: tuple[int, int] = (0, 2),
) -> dict[str, AnyArray]:
    """Returns one array per input.

    Args:
        model_inputs: The model's inputs.
        batch: Size of the batch dimensions.
        other: Size of every other dynamic dimension; None takes them from `sample`.
        rng: Draws what `sample` does not give.
        sample: Input name → real data; its rows are repeated to the batch. An input whose
            other dimensions differ from `other` is drawn at random instead.
        sizes: Symbol → size, for single dimensions; it goes before `batch` and `other`.
        integers: Range of random integers; the upper end is not in it.

    Raises:
        DataError: when `sample` does not fit an input, or a dimension has no size.
    """
    sample = sample or {}
    dims = dynamic_dims(model_inputs)
    chosen = dict.fromkeys(dims.other, other) | dict.fromkeys(dims.batch, batch) | dict(sizes or {})
    for spec in model_inputs:
        if spec.name in sample:
            check_sample(spec, sample[spec.name])
            for axis, size in enumerate(sample[spec.name].shape):
                name = symbol(spec, axis)
                if name is not None and chosen[name] is None:
                    chosen[name] = size
    chosen |= _sums(chosen)
    feeds = {}
    for spec in model_inputs:
        shape = _concrete(spec, chosen)
        given = sample.get(spec.name)
        if given is not None and given.shape[1:] == shape[1:] and given.size:
            feeds[spec.name] = _repeat_rows(given, shape).astype(_dtype(spec))
        else:
            feeds[spec.name] = _draw(spec, shape, rng, integers)
    return feeds


def symbol_sizes(model_inputs: Sequence[TensorSpec], feeds: Mapping[str, AnyArray]) -> dict[str, int]:
    """Returns symbol → size of every dynamic dimension, as it is in `feeds`."""
    found: dict[str, int] = {}
    for spec in model_inputs:
        for axis, size in enumerate(feeds[spec.name].shape):
            name = symbol(spec, axis)
            if name is not None:
                found[name] = size
    return found


def _sums(sizes: Mapping[str, int | None]) -> dict[str, int]:
    """Returns the sizes of the symbols that are written as sums of others, such as "past + 1"."""
    found: dict[str, int] = {}
    for name in sizes:
        terms = [term.strip() for term in name.split("+")]
        values = [int(term) if term.isdecimal() else sizes.get(term) for term in terms]
        if len(terms) > 1 and None not in values:
            found[name] = sum(value for value in values if value is not None)
    return found


def check_sample(spec: TensorSpec, array: AnyArray) -> None:
    """Checks that `array` holds rows for the input `spec`; its number of rows is free.

    Raises:
        DataError: when rank, a static dimension or the kind of dtype differs.
    """
    shape = _shape(spec)
    fits = array.ndim == len(shape) and all(
        not isinstance(want, int) or want == have for want, have in zip(shape[1:], array.shape[1:], strict=True)
    )
    if not fits:
        raise DataError(f"The data for input {spec.name!r} has shape {array.shape}; the model expects {shape}.")
    if not np.can_cast(array.dtype, _dtype(spec), "same_kind") and array.dtype.kind != _dtype(spec).kind:
        raise DataError(f"The data for input {spec.name!r} is {array.dtype}; the model expects {_dtype(spec)}.")


def _shape(spec: TensorSpec) -> tuple[int | str | None, ...]:
    if spec.shape is None:
        raise DataError(
            f"Input {spec.name!r} declares no shape, so none can be chosen for it. "
            "Declare its dimensions in the model (a name for each dynamic one)."
        )
    return spec.shape


def _dtype(spec: TensorSpec) -> np.dtype[np.generic]:
    if spec.dtype is None or spec.dtype.kind in "OUS":
        raise DataError(f"Input {spec.name!r} holds text or is no tensor; only models with numeric inputs can be run.")
    return spec.dtype


def _concrete(spec: TensorSpec, sizes: Mapping[str, int | None]) -> tuple[int, ...]:
    shape = []
    for axis, dim in enumerate(_shape(spec)):
        name = symbol(spec, axis)
        size = sizes[name] if name is not None else dim
        if not isinstance(size, int):
            raise DataError(f"Input {spec.name!r}: dimension {name!r} is dynamic, and no data gives its size.")
        shape.append(size)
    return tuple(shape)


def _repeat_rows(array: AnyArray, shape: tuple[int, ...]) -> AnyArray:
    return np.take(array, np.arange(shape[0]) % len(array), axis=0) if shape else array


def _draw(spec: TensorSpec, shape: tuple[int, ...], rng: np.random.Generator, integers: tuple[int, int]) -> AnyArray:
    dtype = _dtype(spec)
    if dtype.kind == "b":
        return np.ones(shape, dtype)
    if dtype.kind in "iu":
        return np.asarray(rng.integers(*integers, shape)).astype(dtype)
    return np.asarray(rng.standard_normal(shape)).astype(dtype)
