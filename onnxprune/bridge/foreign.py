"""Modules of the user's, before they are a graph: what one is, inputs to run it on, weights for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias, TypeGuard

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from onnxprune.core.errors import InputError, ModelError

__all__ = ["DTYPES", "Module", "draw", "is_module", "load_state"]

Module: TypeAlias = nn.Module
DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
"""Names of the element types that inputs may have."""


def is_module(value: Any) -> TypeGuard[Module]:
    """Returns whether `value` is a torch.nn.Module."""
    return isinstance(value, nn.Module)


def draw(shape: tuple[int, ...], dtype: str, seed: int) -> Tensor:
    """Returns a random tensor: floats of the standard normal distribution, anything else of 0 and 1.

    Whole numbers are mostly indices, and an embedding of any size has these two.

    Args:
        shape: Its sizes.
        dtype: One of `DTYPES`.
        seed: Seed of what is drawn.
    """
    generator, kind = torch.Generator().manual_seed(seed), getattr(torch, dtype)
    if kind.is_floating_point:
        return torch.randn(shape, generator=generator).to(kind)
    return torch.randint(0, 2, shape, generator=generator).to(kind)


def load_state(module: Module, path: Path) -> None:
    """Gives a module the state_dict that a safetensors file holds.

    Raises:
        InputError: when it is no safetensors file.
        ModelError: when its tensors are not those of the module.
    """
    try:
        state = safetensors.torch.load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{path} cannot be read as safetensors: {' '.join(str(error).split())}. Write it with "
            "safetensors.torch.save_file(module.state_dict(), ...); pickled files are not read, as they can run code."
        ) from error
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(
            f"{path} does not fit {type(module).__name__}: {' '.join(str(error).split())}. It has to hold exactly what "
            "module.state_dict() does."
        ) from error
