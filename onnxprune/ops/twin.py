"""The PyTorch counterpart of an operator that has no axis rule.

Such an operator freezes all it touches, and is counted among the operators without a rule. Its
counterpart lets a model that holds it be retrained all the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import onnx_graphsurgeon as gs

from onnxprune.ops.base import TwinContext

if TYPE_CHECKING:
    from onnxprune.ops.base import TorchFunction

__all__ = ["Twin"]


class Twin(ABC):
    """A counterpart, and what it stands for.

    Attributes:
        names: Operator types.
        domain: Operator domain; "" is ai.onnx.
        since: First operator-set version it holds for.
        until: Last one, or None for every later one.
        plain_inputs: As those of an `OpRule`.
    """

    names: ClassVar[tuple[str, ...]] = ()
    domain: ClassVar[str] = ""
    since: ClassVar[int] = 1
    until: ClassVar[int | None] = None
    plain_inputs: ClassVar[tuple[int, ...]] = ()

    @abstractmethod
    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        """Returns a function from input tensors (None where absent) to the output or outputs."""
