"""The activations that onnxruntime's optimizer folds into FusedConv and FusedGemm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.core.errors import ModelError
from onnxprune.ops.base import Mask, MaskContext, describe, open_atoms

if TYPE_CHECKING:
    import torch

__all__ = ["activate_masks", "torch_activation"]

_ZERO_KEEPING = ("", "Elu", "HardSwish", "LeakyRelu", "Relu", "Softsign", "Tanh")


def activate_masks(node: gs.Node, ctx: MaskContext, name: str, numbers: Sequence[float]) -> None:
    """Says what the node's output holds once the activation has followed.

    Args:
        node: The fused node; what its output holds before the activation is settled.
        ctx: Mask states.
        name: The activation, "" for none.
        numbers: Its parameters, alpha first.
    """
    clips_around_zero = name == "Clip" and numbers[0] <= 0 <= numbers[1]
    if name not in _ZERO_KEEPING and not clips_around_zero:
        output = node.outputs[0].name
        for atom in open_atoms(ctx, output):
            ctx.set(output, atom, Mask.FINITE)


def torch_activation(node: gs.Node, name: str, numbers: Sequence[float]) -> Callable[[torch.Tensor], torch.Tensor]:
    """Returns the activation as a function of a tensor.

    Raises:
        ModelError: when there is no counterpart of that name.
    """
    import torch
    import torch.nn.functional as F

    functions: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "": lambda x: x,
        "Clip": lambda x: torch.clamp(x, numbers[0], numbers[1]),
        "Elu": lambda x: F.elu(x, numbers[0]),
        "HardSigmoid": lambda x: torch.clamp(numbers[0] * x + numbers[1], 0, 1),
        "HardSwish": F.hardswish,  # its numbers are fixed
        "LeakyRelu": lambda x: F.leaky_relu(x, numbers[0]),
        "Relu": torch.relu,
        "Sigmoid": torch.sigmoid,
        "Softplus": F.softplus,
        "Softsign": F.softsign,
        "Tanh": torch.tanh,
        "ThresholdedRelu": lambda x: torch.where(x > numbers[0], x, torch.zeros_like(x)),
    }
    if name not in functions:
        raise ModelError(
            f"{describe(node)} has the activation {name!r}, which has no counterpart in PyTorch here, so the model "
            "cannot be retrained. Compress without --data, or start from the model before onnxruntime optimised it."
        )
    return functions[name]
