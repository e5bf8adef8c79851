"""One image file: from its bytes to the pixels that a model reads.

The shortest side is scaled to the wanted size and the middle is cut out (bilinear, with the
support widened when shrinking). What is not 8 bits per channel is converted as Pillow does, with
these rules of our own:

- the orientation that a camera wrote into EXIF is applied first;
- of 16 bits, the upper 8 are taken, as libpng does;
- transparency is dropped and the colour under it kept, as torchvision and TensorFlow read files,
  so that a model sees what it was trained on;
- of animations, the first frame is taken.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

__all__ = ["PICTURE_ERRORS", "SUFFIXES", "Decoded", "PictureRule", "decode", "oriented_size"]

Pixels = NDArray[np.uint8]
PictureFile = Path | IO[bytes]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
"""Endings of files that are taken for images."""

# named, so that a file cannot choose a decoder that runs another program, as EPS does
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF", "PPM")
_ORIENTATION, _SIDEWAYS = 0x0112, (5, 6, 7, 8)
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")

# what Pillow's decoders raise on damaged files; they do not agree on one class
PICTURE_ERRORS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    Image.DecompressionBombError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True)
class PictureRule:
    """What pictures become.

    Attributes:
        height: Pixels.
        width: Pixels.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA).
        channels_first: Whether the result is [channels, height, width], or channels are last.
    """

    height: int
    width: int
    channels: int
    channels_first: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one picture as it is stored."""
        plane = (self.height, self.width)
        return (self.channels, *plane) if self.channels_first else (*plane, self.channels)


@dataclass(frozen=True)
class Decoded:
    """A picture.

    Attributes:
        pixels: uint8, of the rule's shape.
        resized: Whether it had another size.
        transparent: Whether it had an alpha channel that was dropped.
    """

    pixels: Pixels
    resized: bool
    transparent: bool


def oriented_size(file: PictureFile) -> tuple[int, int]:
    """Returns height and width of a picture as it is shown, from its header.

    Raises:
        one of PICTURE_ERRORS: when it is damaged.
    """
    with Image.open(file, formats=_FORMATS) as image:
        width, height = image.size
        sideways = image.getexif().get(_ORIENTATION) in _SIDEWAYS
    return (width, height) if sideways else (height, width)


def decode(file: PictureFile, rule: PictureRule) -> Decoded:
    """Returns the pixels of a picture under a rule.

    Raises:
        one of PICTURE_ERRORS: when it is damaged, or its pixels are no 8 or 16-bit integers.
    """
    with Image.open(file, formats=_FORMATS) as image:
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        transparent = rule.channels != 4 and (image.mode in _ALPHA or "transparency" in image.info)
        plain = _converted(image, _MODES[rule.channels])
    wanted = (rule.width, rule.height)
    resized = plain.size != wanted
    if resized:
        plain = ImageOps.fit(plain, wanted, method=Image.Resampling.BILINEAR)
    pixels: Pixels = np.asarray(plain, np.uint8).reshape(rule.height, rule.width, rule.channels)
    return Decoded(pixels.transpose(2, 0, 1) if rule.channels_first else pixels, resized, transparent)


def _converted(image: Image.Image, mode: str) -> Image.Image:
    image = _eight_bit(image)
    if image.mode in ("P", "PA") and "transparency" in image.info:
        image = image.convert("RGBA")  # the one way on which Pillow drops a palette's transparency without a warning
    return image if image.mode == mode else image.convert(mode)


def _eight_bit(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("its pixels are floating point, whose range nothing tells; store 8 or 16 bits per channel")
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image
    values: NDArray[Any] = np.asarray(image)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ValueError("its pixels have 32 bits; store 8 or 16 bits per channel")
    return Image.fromarray((values >> 8).astype(np.uint8))
