"""RMSNormalization: y = γ x / √(mean(x²) + ε) over the trailing axes.

onnxruntime's optimizer writes the same as SimplifiedLayerNormalization, in the standard's domain
though the standard knows no such operator; it may give 1 / √(mean(x²) + ε) as second output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.ops.base import TwinContext, attribute
from onnxprune.ops.normalization import LayerNormalization
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["RMSNormalization"]


@register_op
class RMSNormalization(LayerNormalization):
    """Axes and masks are those of LayerNormalization."""

    names = ("RMSNormalization", "SimplifiedLayerNormalization")

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        start = int(attribute(node, "axis", -1))
        epsilon = attribute(node, "epsilon", 1e-5)
        with_statistics = len(node.outputs) > 1

        def rms_norm(x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
            dims = list(range(start % x.dim(), x.dim()))
            factor = torch.rsqrt(x.square().mean(dims, keepdim=True) + epsilon)
            y = x * factor * scale
            return (y, factor) if with_statistics else y

        return rms_norm
