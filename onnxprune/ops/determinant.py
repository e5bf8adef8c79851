"""Det: the determinant of square matrices in the last two axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.ops.base import TwinContext
from onnxprune.ops.registry import register_twin
from onnxprune.ops.twin import Twin

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["Det"]


@register_twin
class Det(Twin):
    """The determinant."""

    names = ("Det",)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        def det(x: torch.Tensor) -> torch.Tensor:
            narrow = x.dtype in (torch.float16, torch.bfloat16)  # torch factorises no such matrices
            y: torch.Tensor = torch.linalg.det(x.float() if narrow else x)
            return y.to(x.dtype)

        return det
