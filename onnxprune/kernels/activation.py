"""Activations that an operator ends with: their parameters, their nodes, their values.

    LeakyRelu    x if x ≥ 0 else alpha·x            HardSwish   x · clip(x/6 + 1/2, 0, 1)
    Clip         clip(x, min, max)                  Silu        x · σ(x)
    HardSigmoid  clip(alpha·x + beta, 0, 1)         Gelu        x/2 · (1 + erf(x/√2))
    GeluTanh     x/2 · (1 + tanh(√(2/π) · (x + 0.044715·x³)))

and Relu, Sigmoid, Tanh as everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from onnxprune.core.errors import UsageError

__all__ = ["ACTIVATIONS", "Activation", "ActivationName"]

ActivationName: TypeAlias = Literal[
    "", "Relu", "LeakyRelu", "Clip", "HardSigmoid", "HardSwish", "Sigmoid", "Silu", "Tanh", "Gelu", "GeluTanh"
]
ACTIVATIONS: Mapping[ActivationName, tuple[str, ...]] = MappingProxyType(
    {
        "": (),
        "Relu": (),
        "LeakyRelu": ("alpha",),
        "Clip": ("min", "max"),
        "HardSigmoid": ("alpha", "beta"),
        "HardSwish": (),
        "Sigmoid": (),
        "Silu": (),
        "Tanh": (),
        "Gelu": (),
        "GeluTanh": (),
    }
)
"""Name → its parameters, which are attributes of the operator."""


@dataclass(frozen=True)
class Activation:
    """An activation with its parameters.

    Attributes:
        name: A key of `ACTIVATIONS`; the empty name is none at all.
        parameters: Name → value, all that the activation has.

    Raises:
        UsageError: when a name is unknown, or parameters are missing or too many.
    """

    name: ActivationName = ""
    parameters: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name not in ACTIVATIONS:
            known = ", ".join(name for name in ACTIVATIONS if name)
            raise UsageError(f"{self.name!r} is no activation of block-sparse operators; they have {known}.")
        if set(self.parameters) != set(ACTIVATIONS[self.name]):
            wanted = ", ".join(ACTIVATIONS[self.name]) or "none"
            found = ", ".join(sorted(self.parameters)) or "none"
            raise UsageError(f"The parameters of {self.name or 'no activation'} are {wanted}, not {found}.")

    def values(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the activation of each element.

        Args:
            x: float64 of any shape.
        """
        p = self.parameters
        match self.name:
            case "Relu":
                return np.maximum(x, 0.0)
            case "LeakyRelu":
                return np.where(x < 0, p["alpha"] * x, x)
            case "Clip":
                return np.clip(x, p["min"], p["max"])
            case "HardSigmoid":
                return np.clip(p["alpha"] * x + p["beta"], 0.0, 1.0)
            case "HardSwish":
                return x * np.clip(x / 6 + 0.5, 0.0, 1.0)
            case "Sigmoid":
                return _sigmoid(x)
            case "Silu":
                return x * _sigmoid(x)
            case "Tanh":
                return np.tanh(x)
            case "Gelu":
                erf = np.vectorize(math.erf, otypes=[np.float64])
                return np.asarray(0.5 * x * (1 + erf(x / math.sqrt(2))))
            case "GeluTanh":
                return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))
        return x


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(0.5 * (1 + np.tanh(x / 2)))
