"""Arithmetic on unsigned integers of 16, 32 and 64 bits, which torch stores but hardly computes with.

numpy does it instead, with the wrap-around of the type. Such tensors are sizes and codes, never weights, so
no gradient is lost.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

__all__ = ["by_numpy", "with_unsigned"]


def with_unsigned(
    function: Callable[..., torch.Tensor], substitute: Callable[..., NDArray[Any]]
) -> Callable[..., torch.Tensor]:
    """Returns `function`, which falls back on numpy where the first operand is uint16, uint32 or uint64.

    Args:
        function: From tensors to a tensor.
        substitute: The same on arrays of two operands; more are combined from the left.
    """
    import torch

    unsigned = (torch.uint16, torch.uint32, torch.uint64)

    def either(*operands: torch.Tensor) -> torch.Tensor:
        if operands[0].dtype not in unsigned:
            return function(*operands)
        return by_numpy(lambda *arrays: functools.reduce(substitute, arrays), *operands)

    return either


def by_numpy(function: Callable[..., Any], *operands: torch.Tensor) -> torch.Tensor:
    """Returns what `function` of the operands as arrays gives, on their device and without gradients."""
    import torch

    result = function(*(operand.detach().cpu().numpy() for operand in operands))
    return torch.from_numpy(np.asarray(result)).to(operands[0].device)
