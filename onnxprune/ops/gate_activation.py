"""The activations that LSTM, GRU and RNN take by name, in any letter case."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.core.errors import ModelError
from onnxprune.ops.base import attribute, describe

if TYPE_CHECKING:
    import torch

__all__ = ["GateActivation", "gate_activations"]

_ALPHA = {
    "affine": 1.0, "elu": 1.0, "hardsigmoid": 0.2, "leakyrelu": 0.01, "scaledtanh": 1.0, "thresholdedrelu": 1.0,
}  # fmt: skip
_BETA = {"affine": 0.0, "hardsigmoid": 0.5, "scaledtanh": 1.0}
_ZERO_KEEPING = ("elu", "leakyrelu", "relu", "scaledtanh", "softsign", "tanh", "thresholdedrelu")


@dataclass(frozen=True)
class GateActivation:
    """One activation.

    Attributes:
        name: Its name in lower case.
        alpha: First parameter, 0 where it has none.
        beta: Second parameter, likewise.
    """

    name: str
    alpha: float = 0.0
    beta: float = 0.0

    @property
    def keeps_zero(self) -> bool:
        """Whether f(0) = 0."""
        shifted = self.name == "affine" and self.beta == 0
        return self.name in _ZERO_KEEPING or shifted or (self.name == "hardsigmoid" and self.beta <= 0)

    def torch(self, node: gs.Node) -> Callable[[torch.Tensor], torch.Tensor]:
        """Returns the activation as a function of a tensor.

        Raises:
            ModelError: when there is none of that name.
        """
        import torch
        import torch.nn.functional as F

        alpha, beta = self.alpha, self.beta
        functions: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
            "affine": lambda x: alpha * x + beta,
            "elu": lambda x: F.elu(x, alpha),
            "hardsigmoid": lambda x: torch.clamp(alpha * x + beta, 0, 1),
            "leakyrelu": lambda x: F.leaky_relu(x, alpha),
            "relu": torch.relu,
            "scaledtanh": lambda x: alpha * torch.tanh(beta * x),
            "sigmoid": torch.sigmoid,
            "softplus": F.softplus,
            "softsign": F.softsign,
            "tanh": torch.tanh,
            "thresholdedrelu": lambda x: torch.where(x > alpha, x, torch.zeros_like(x)),
        }
        if self.name not in functions:
            raise ModelError(
                f"{describe(node)} has the activation {self.name!r}; the standard knows {', '.join(sorted(functions))}."
            )
        return functions[self.name]


def gate_activations(node: gs.Node, defaults: Sequence[str], directions: int) -> list[list[GateActivation]]:
    """Returns the activations of each direction.

    Args:
        node: The recurrent node. Its `activation_alpha` and `activation_beta` go to those
            activations, in order, that have such a parameter.
        defaults: Names where the node gives none.
        directions: 1 or 2.
    """
    names = [str(name).lower() for name in attribute(node, "activations", list(defaults) * directions)]
    alphas, betas = (list(attribute(node, f"activation_{key}", [])) for key in ("alpha", "beta"))
    found = []
    for name in names:
        alpha = alphas.pop(0) if name in _ALPHA and alphas else _ALPHA.get(name, 0.0)
        beta = betas.pop(0) if name in _BETA and betas else _BETA.get(name, 0.0)
        found.append(GateActivation(name, float(alpha), float(beta)))
    count = len(defaults)
    return [found[i * count : (i + 1) * count] for i in range(directions)]
