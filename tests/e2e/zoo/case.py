"""What an entry of the zoo is: a module in evaluation mode, example inputs, dynamic dimensions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from randomise import randomise
from torch import nn

__all__ = ["BATCH", "IMAGE", "SEQUENCE", "Case", "Factory", "image_case", "make_case"]

Dims = Mapping[int, str]

BATCH: Dims = {0: "batch"}
IMAGE: Dims = {0: "batch", 2: "height", 3: "width"}
SEQUENCE: Dims = {0: "batch", 1: "sequence"}


@dataclass(frozen=True)
class Case:
    """One architecture.

    Attributes:
        module: In evaluation mode, every normalisation, bias and layer scale drawn at random.
        inputs: Example inputs.
        dynamic: For each input, its dynamic axes and their names.
    """

    module: nn.Module
    inputs: tuple[torch.Tensor, ...]
    dynamic: tuple[Dims, ...]


Factory = Callable[[], Case]


def make_case(module: nn.Module, inputs: tuple[torch.Tensor, ...], *dynamic: Dims) -> Case:
    """Returns the case of `module` with its parameters randomised."""
    return Case(randomise(module).eval(), inputs, dynamic)


def image_case(module: nn.Module, size: int = 64, dynamic: Dims = BATCH, channels: int = 3) -> Case:
    """Returns the case of a module that takes two images of `size` x `size` pixels."""
    return make_case(module, (torch.randn(2, channels, size, size),), dynamic)
