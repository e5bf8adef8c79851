"""SwiGLU: y = a · sigmoid(α a) · b, the gated activation of Shazeer (2020), in one operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.ops.arithmetic import Mul
from onnxprune.ops.base import TwinContext, attribute
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["SwiGLU"]


@register_op
class SwiGLU(Mul):
    """Zero where the gate or the value is zero, as in a product."""

    names = ("SwiGLU",)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        alpha = attribute(node, "alpha", 1.0)

        def swiglu(gate: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
            return gate * torch.sigmoid(gate if alpha == 1 else alpha * gate) * value

        return swiglu
