"""Masked parameters: a channel is dropped by zeroing every slice that touches it.

With mask m over an axis of a parameter W, the masked parameter is W ∘ m, broadcast over the
other axes; where a slice divides, such as a running variance, it is W ∘ m + (1 − m). The
module is untouched, and gradients reach the masks:

    values = masked_parameters(module, {"conv.weight": [(0, m)], "next.weight": [(1, m)]})
    loss = criterion(torch.func.functional_call(module, values, (x,)), y)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch

from onnxprune.bridge.module import OnnxModule
from onnxprune.core.errors import InternalError

__all__ = ["masked_parameters"]


def masked_parameters(
    module: OnnxModule,
    slices: Mapping[str, Sequence[tuple[int, torch.Tensor]]],
    fill_with_one: Collection[str] = (),
) -> dict[str, torch.Tensor]:
    """Returns initializer name → masked value, for `torch.func.functional_call`.

    Running statistics that are masked are copies, so a call in training mode does not update
    those of the module.

    Args:
        module: Where the values come from; gradients reach its parameters, too.
        slices: Initializer name → (axis, mask) pairs. A mask is a bool or float tensor of the
            axis' length, 1 where the channel stays.
        fill_with_one: Initializers whose masked slices hold 1 instead of 0.

    Raises:
        InternalError: when a name is unknown or a mask does not fit its axis.
    """
    values = dict(module.named_parameters()) | dict(module.named_buffers())
    return {name: _masked(name, values, pairs, name in fill_with_one) for name, pairs in slices.items()}


def _masked(
    name: str, values: Mapping[str, torch.Tensor], pairs: Sequence[tuple[int, torch.Tensor]], fill: bool
) -> torch.Tensor:
    if name not in values:
        raise InternalError(f"cannot mask {name!r}: the module has no parameter or buffer of that name")
    value = values[name]
    for axis, mask in pairs:
        if not -value.dim() <= axis < value.dim() or tuple(mask.shape) != (value.shape[axis],):
            raise InternalError(
                f"cannot mask axis {axis} of {name!r} with shape {tuple(value.shape)} by a mask of shape "
                f"{tuple(mask.shape)}"
            )
        shape = [1] * value.dim()
        shape[axis] = -1
        factor = mask.to(value.dtype).reshape(shape)
        value = value * factor + (1 - factor) if fill else value * factor
    return value
