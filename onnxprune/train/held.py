"""Weights of which some entries stay at zero while the others learn.

A gradient that is zero where the mask is leaves the entry where it is: momentum of zero stays zero, weight
decay shrinks zero to zero, and the norm that clips gradients does not count what cannot move.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from onnxprune.core.errors import InternalError

__all__ = ["Masks", "clear", "held"]

Masks = Mapping[str, NDArray[np.bool_]]
"""Parameter → which of its entries learn, bool, shaped as the parameter; the others are zero."""


def clear(module: nn.Module, masks: Masks) -> None:
    """Sets masked entries to zero.

    Args:
        module: Holds the parameters.
        masks: What stays. Parameters that are absent stay as a whole.

    Raises:
        InternalError: when a name is no parameter, or a mask has another shape.
    """
    with torch.no_grad():
        for parameter, keep in _keeps(module, masks):
            parameter.mul_(keep)


@contextmanager
def held(module: nn.Module, masks: Masks) -> Iterator[None]:
    """Keeps masked entries, which are zero, at zero while the module trains inside.

    Args:
        module: What trains; it stays on its device meanwhile.
        masks: What learns. Parameters that are absent learn as a whole.

    Raises:
        InternalError: as `clear`.
    """
    hooks = [
        parameter.register_hook(_times(keep))  # type: ignore[no-untyped-call]  # torch leaves it untyped
        for parameter, keep in _keeps(module, masks)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _keeps(module: nn.Module, masks: Masks) -> list[tuple[nn.Parameter, torch.Tensor]]:
    """Returns parameters with their masks as factors, where they lie and as they lie in memory."""
    parameters, found = dict(module.named_parameters()), []
    for name, mask in masks.items():
        parameter = parameters.get(name)
        if parameter is None or tuple(parameter.shape) != mask.shape:
            known = "there is none of that name" if parameter is None else f"it has {tuple(parameter.shape)}"
            raise InternalError(f"the mask of parameter {name!r} has the shape {mask.shape}; {known}")
        keep = torch.empty_like(parameter.detach()).copy_(torch.from_numpy(np.array(mask, order="C")))
        found.append((parameter, keep))
    return found


def _times(keep: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda gradient: gradient * keep
