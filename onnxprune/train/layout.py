"""Whether stored samples fit a model input, and which axis order makes images fit.

Images lie as NCHW or NHWC in a file, and a model reads one of the two. The shapes tell which,
as long as the number of channels is known or is 1, 3 or 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxprune.core.errors import DataError
from onnxprune.graph import TensorSpec

__all__ = ["Layout", "array_layout", "channel_axis", "fits", "image_layout", "mismatch"]

Dimensions = Sequence[int | str | None]
_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class Layout:
    """How a stored batch becomes what the model reads.

    Attributes:
        order: Axes of a stored batch in the order that the model reads, or None.
        shape: Shape of one sample as the model reads it.
        channel_axis: Axis of a batch that holds channels as the model reads it, or None.
        note: What the user should know, or "".
    """

    order: tuple[int, ...] | None
    shape: tuple[int, ...]
    channel_axis: int | None = None
    note: str = ""


def fits(shape: Sequence[int], wanted: Dimensions) -> bool:
    """Returns whether a shape meets every static dimension of `wanted`."""
    return len(shape) == len(wanted) and all(
        not isinstance(w, int | np.integer) or w == s for s, w in zip(shape, wanted, strict=True)
    )


def array_layout(what: str, sample: tuple[int, ...], spec: TensorSpec) -> Layout:
    """Returns the layout of an array that is fed as it is.

    Args:
        what: Names the array in messages.
        sample: Shape of one stored sample.
        spec: The model's input.

    Raises:
        DataError: when the shapes do not fit.
    """
    if spec.shape is not None and not fits(sample, spec.shape[1:]):
        raise DataError(mismatch(what, sample, spec))
    return Layout(None, sample)


def image_layout(what: str, sample: tuple[int, ...], spec: TensorSpec) -> Layout:
    """Returns the layout of uint8 samples that go into a float input.

    Raises:
        DataError: when neither axis order fits.
    """
    if spec.shape is None or len(spec.shape) != 4 or len(sample) not in (2, 3):
        return array_layout(what, sample, spec)
    wanted = spec.shape[1:]
    axis = channel_axis(wanted)
    reads = "NCHW" if axis == 1 else "NHWC"
    if len(sample) == 2:
        grey = (1, *sample) if axis == 1 else (*sample, 1)
        if not fits(grey, wanted):
            raise DataError(mismatch(what, sample, spec))
        return Layout(None, grey, axis, f"{what}: images {list(sample)} are grey and read as {reads} with one channel.")
    order = (0, 3, 1, 2) if axis == 1 else (0, 2, 3, 1)
    turned = tuple(sample[i - 1] for i in order[1:])
    direct, swapped = fits(sample, wanted), fits(turned, wanted)
    if swapped and (not direct or _stored_other_way(sample, axis)):
        stored = "NHWC" if axis == 1 else "NCHW"
        return Layout(order, turned, axis, f"{what}: images {list(sample)} are {stored}; they are turned to {reads}.")
    if not direct:
        raise DataError(mismatch(what, sample, spec))
    return Layout(None, sample, axis, f"{what}: images {list(sample)} are read as {reads}.")


def mismatch(what: str, sample: tuple[int, ...], spec: TensorSpec) -> str:
    """Returns the message for samples that do not fit."""
    shape = spec.shape or ()
    wanted = ", ".join("?" if size is None else str(size) for size in shape)
    hint = ""
    if len(sample) == 3 and len(shape) == 4:
        for order, name in (((2, 0, 1), "NHWC"), ((1, 2, 0), "NCHW")):
            if fits([sample[i] for i in order], shape[1:]):
                hint = (
                    f" The samples look like {name}: transpose the array first; uint8 images are turned by themselves."
                )
                break
    return (
        f"{what} holds samples of shape {list(sample)}, which do not fit input {spec.name!r} of shape [{wanted}] "
        f"(the first axis counts samples).{hint}"
    )


def channel_axis(wanted: Sequence[Any]) -> int:
    """Returns the axis of a batch that holds channels: ONNX's own 1 unless only the last, 3, can be.

    Args:
        wanted: The three dimensions of one image as the model reads it.
    """
    return 3 if wanted[2] in _CHANNELS and wanted[0] not in _CHANNELS else 1


def _stored_other_way(sample: tuple[int, ...], axis: int) -> bool:
    """Whether a sample that fits either way has its channels where the model does not."""
    here, there = (sample[0], sample[2]) if axis == 1 else (sample[2], sample[0])
    return there in _CHANNELS and here not in _CHANNELS
