"""What can be switched on and off inside a model that keeps its shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch

from onnxprune.bridge import OnnxModule

__all__ = ["Switches"]


class Switches(Protocol):
    """Parts of a model under masks.

    Attributes:
        groups: Names of what a mask can be given for.
    """

    groups: tuple[str, ...]

    def values(self, module: OnnxModule, masks: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Returns initializer → weight under the masks, for those that a mask reaches.

        Args:
            module: Holds the weights.
            masks: Name → mask, float; what is absent stays whole.
        """
