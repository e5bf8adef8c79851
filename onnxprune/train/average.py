"""A running average of the weights: what is evaluated and kept instead of the last weights.

    w̄ ← d w̄ + (1 − d) w after every step t, with d = min(decay, (1 + t) / (10 + t))

The rising d lets the first averages forget the start quickly. Running statistics are averaged
alike, since they belong to the weights that gave them. (Tarvainen, Valpola, "Mean teachers are
better role models", 2017, section 3.)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

__all__ = ["Average"]


class Average:
    """The average of a module's state over the steps so far.

    Args:
        module: Its state dict holds float tensors; they are updated in place while it trains.
        decay: Largest d, in (0, 1).

    Attributes:
        values: Name → tensor, as in the state dict.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._decay = decay
        self._current = [tensor.detach() for tensor in module.state_dict().values()]
        self.values = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}

    def update(self, step: int) -> None:
        """Takes in the weights after a step, counted from 0."""
        share = 1.0 - min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.values.values()), self._current, share)

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Puts back `values` of an earlier run."""
        for name, tensor in tensors.items():
            self.values[name].copy_(tensor)
