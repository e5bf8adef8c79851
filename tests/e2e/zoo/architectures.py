"""Every architecture of the zoo by name."""

from __future__ import annotations

from case import Factory
from image_nets import IMAGE_NETS
from language import LANGUAGE
from sequence_nets import SEQUENCE_NETS
from vision import VISION
from yolo import DETECTORS

__all__ = ["ARCHITECTURES"]

ARCHITECTURES: dict[str, Factory] = VISION | IMAGE_NETS | DETECTORS | SEQUENCE_NETS | LANGUAGE
