"""Arrays to tensors and back, with every element type that a weight may have."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from onnxprune.core.errors import ModelError

__all__ = ["as_array", "as_tensor"]

_BFLOAT16 = "bfloat16"


def as_tensor(array: NDArray[Any], name: str = "") -> torch.Tensor:
    """Returns a copy of `array` as a tensor of the same element type and shape.

    Args:
        array: Any shape; float, integer, bool or bfloat16 (the numpy type of ml_dtypes).
        name: What the array is called in messages.

    Raises:
        ModelError: when torch has no such element type.
    """
    if array.dtype.name == _BFLOAT16:
        return torch.from_numpy(np.array(array).view(np.int16)).view(torch.bfloat16)
    try:
        return torch.from_numpy(np.array(array))
    except TypeError as error:
        raise ModelError(
            f"Tensor {name!r} has element type {array.dtype.name}, which PyTorch cannot hold, so the model cannot "
            "be turned into a PyTorch module. Convert the model to float32 weights first."
        ) from error


def as_array(tensor: torch.Tensor, like: np.dtype[Any] | None = None) -> NDArray[Any]:
    """Returns a copy of `tensor` as an array of element type `like`; without it in its own, bfloat16 as float32."""
    plain = tensor.detach().cpu().contiguous()
    if plain.dtype == torch.bfloat16:
        plain = plain.float()
    array = np.array(plain.numpy())
    return array if like is None else array.astype(like, copy=False)
