"""Whether a model input reads images, and what image files must become for it."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnxprune.core.errors import DataError
from onnxprune.graph import TensorSpec
from onnxprune.graph.values import is_float
from onnxprune.train.layout import channel_axis
from onnxprune.train.sources.picture import PictureRule
from onnxprune.train.sources.pictures import OpenedPictures, Pictures, common_size, open_pictures

__all__ = ["ImageOptions", "ImageSize", "open_for_input"]

ImageSize = int | Sequence[int]
_RGB = 3
_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class ImageOptions:
    """How image files are read.

    Attributes:
        size: Height and width where the model leaves them open, one number for both; or None.
        skip_corrupt: Leaves out files that cannot be read.
    """

    size: ImageSize | None = None
    skip_corrupt: bool = False

    def height_and_width(self) -> tuple[int, int] | None:
        """Returns the size as two numbers.

        Raises:
            DataError: when it is something else.
        """
        if self.size is None:
            return None
        try:
            numbers = tuple(map(operator.index, self.size if isinstance(self.size, Sequence) else (self.size,)))
        except TypeError:
            numbers = ()
        if len(numbers) not in (1, 2) or min(numbers) < 1:
            raise DataError(
                f"image_size = {self.size!r}: give one whole number for squares, or height and width, in pixels."
            )
        return (numbers[0], numbers[-1])


def open_for_input(where: str, pictures: Pictures, spec: TensorSpec, options: ImageOptions) -> OpenedPictures:
    """Returns pictures in the size, colours and axis order that an input reads.

    Args:
        where: What messages call the source.
        pictures: At least one.
        spec: The input.
        options: How to read.

    Raises:
        DataError: when the input reads no images, no size can be told, or files are damaged.
    """
    height, width, channels, axis = _dimensions(where, spec)
    asked = options.height_and_width()
    if asked is not None:
        for fixed, given in zip((height, width), asked, strict=True):
            if fixed is not None and fixed != given:
                raise DataError(
                    f"image_size = {asked[0]} x {asked[1]}, but input {spec.name!r} reads {height or 'any'} x "
                    f"{width or 'any'} (height x width). Leave image_size out; images are resized to what the model "
                    "reads."
                )
        height, width = asked
    if height is None or width is None:
        found = common_size(where, pictures, skip_corrupt=options.skip_corrupt)
        height, width = height or found[0], width or found[1]
    rule = PictureRule(height, width, channels, channels_first=axis == 1)
    return open_pictures(where, pictures, rule, skip_corrupt=options.skip_corrupt)


def _dimensions(where: str, spec: TensorSpec) -> tuple[int | None, int | None, int, int]:
    """Returns height and width (None: dynamic), the number of channels and their axis."""
    shape = spec.shape
    readable = spec.dtype is not None and (is_float(spec.dtype) or spec.dtype == np.uint8)
    if shape is not None and len(shape) == 4 and readable:
        axis = channel_axis(shape[1:])
        sizes = [size if isinstance(size, int) else None for size in shape]
        channels = sizes[axis] if sizes[axis] is not None else _RGB
        if channels in _CHANNELS:
            height, width = sizes[2:] if axis == 1 else sizes[1:3]
            return height, width, channels, axis
    listed = "unknown" if shape is None else f"[{', '.join('?' if size is None else str(size) for size in shape)}]"
    raise DataError(
        f"{where} holds images, and input {spec.name!r} ({spec.dtype}, shape {listed}) reads none: an image input is "
        "floating point or uint8 and has 4 axes, of which the second or the last counts 1, 3 or 4 channels. Give an "
        ".npz file with an array for each input instead."
    )
