"""Which random changes of images the user asked for: `flip,shift:4,erase:0.25`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from onnxprune.core.errors import UsageError

__all__ = ["AugmentOptions", "parse_augment_options"]

_DOMAINS: dict[str, tuple[str, float, float]] = {
    "shift": ("shift:4", 1, 10_000),
    "crop": ("crop:0.7", 0.01, 1),
    "rotate": ("rotate:15", 0, 180),
    "jitter": ("jitter:0.2", 0, 1),
    "noise": ("noise:0.05", 0, 100),
    "erase": ("erase:0.25", 0, 1),
}
_KNOWN = (
    "Known are flip; shift:PIXELS, such as shift:4; crop:SMALLEST_AREA, such as crop:0.7; rotate:DEGREES, such as "
    "rotate:15; jitter:SHARE, such as jitter:0.2; noise:STANDARD_DEVIATION, such as noise:0.05; erase:SIDE, such as "
    "erase:0.25. Several are separated by commas."
)


@dataclass(frozen=True)
class AugmentOptions:
    """Random changes of images; zero, or False, leaves one out.

    Attributes:
        flip: Whether half of the images are mirrored left to right.
        shift: Largest shift in pixels, along each axis.
        crop: Smallest share of the area that is cut out and scaled back up.
        rotate: Largest angle in degrees, to either side.
        jitter: Largest change of contrast as a share, and of brightness in standard deviations of
            the image.
        noise: Standard deviation of added noise, in units of the model's input.
        erase: Height and width of an erased patch, as a share of the image's.
    """

    flip: bool = False
    shift: int = 0
    crop: float = 0.0
    rotate: float = 0.0
    jitter: float = 0.0
    noise: float = 0.0
    erase: float = 0.0

    @property
    def moves(self) -> bool:
        """Whether pixels change their places."""
        return bool(self.flip or self.shift or self.resamples)

    @property
    def resamples(self) -> bool:
        """Whether pixels come to lie between others."""
        return bool(self.crop or self.rotate)


def parse_augment_options(text: str) -> AugmentOptions:
    """Returns the options that `text` lists; the empty text lists none.

    Raises:
        UsageError: when a switch is unknown, given twice, or its value outside its domain.
    """
    found: dict[str, float | bool] = {}
    for word in text.split(",") if text.strip() else ():
        name, colon, value = (part.strip() for part in word.partition(":"))
        if name in found:
            raise UsageError(f"augment = {text!r}: {name} is given twice.")
        if name == "flip" and not colon:
            found[name] = True
        elif name in _DOMAINS:
            found[name] = _number(text, name, value)
        else:
            raise UsageError(f"augment = {text!r}: {word.strip()!r} is unknown. {_KNOWN}")
    return AugmentOptions(**found)  # type: ignore[arg-type]  # names and types are those of the fields


def _number(text: str, name: str, value: str) -> float:
    example, low, high = _DOMAINS[name]
    try:
        number = int(value) if name == "shift" else float(value)
    except ValueError:
        kind = "a whole number" if name == "shift" else "a number"
        raise UsageError(f"augment = {text!r}: {name} takes {kind}, as in {example}; got {value!r}.") from None
    if not (math.isfinite(number) and low <= number <= high and number > 0):
        above = f"at least {low:g}" if low else "greater than zero"
        raise UsageError(f"augment = {text!r}: {name} must be {above} and at most {high:g}, as in {example}.")
    return number
