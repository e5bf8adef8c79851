"""Sizes, axes and counts that the module of a graph hands over as Python integers.

Shape arithmetic needs no tensors: a counterpart that takes a shape gets a tuple of integers
where the program knows them as such, and a tensor where they are computed from data. Reading
a tensor waits for the device; reading a tuple does not, and a compiler can follow it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["PlainInts", "ints"]

PlainInts = int | tuple[int, ...]


def ints(value: PlainInts | torch.Tensor) -> list[int]:
    """Returns the integers of a tuple, of one integer, or of a tensor of any shape, in order."""
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, int) or not hasattr(value, "tolist"):
        return [value]  # type: ignore[list-item]  # no tensor: an int, or a symbolic one of a tracer
    return [int(v) for v in value.reshape(-1).tolist()]
