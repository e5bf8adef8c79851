"""LpPool and GlobalLpPool: y = (Σ |x|^p)^(1/p) over a window, or over the whole map, of each channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.ops.base import TwinContext, attribute
from onnxprune.ops.pool import MaxPool
from onnxprune.ops.pool import padding as pool_padding
from onnxprune.ops.registry import register_op
from onnxprune.ops.spatial import flat_pads, window

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["GlobalLpPool", "LpPool"]


@register_op
class LpPool(MaxPool):
    """Norm under a window; the padding adds nothing to it."""

    names = ("LpPool",)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch
        import torch.nn.functional as F

        win, order = window(node, attribute(node, "kernel_shape")), int(attribute(node, "p", 2))
        rank = len(win.kernel)

        def lp_pool(x: torch.Tensor) -> torch.Tensor:
            before, after, extra = pool_padding(node, x)
            powers = x.abs().pow(order).reshape(-1, 1, *x.shape[2:])
            powers = F.pad(powers, flat_pads(before, [a + e for a, e in zip(after, extra, strict=True)]))
            ones = torch.ones(1, 1, *win.kernel, dtype=x.dtype, device=x.device)
            conv = (F.conv1d, F.conv2d, F.conv3d)[rank - 1]
            sums = conv(powers, ones, None, win.strides, 0, win.dilations)
            return _root(sums, order).reshape(*x.shape[:2], *sums.shape[2:])

        return lp_pool


@register_op
class GlobalLpPool(MaxPool):
    """Norm of each channel."""

    names = ("GlobalLpPool",)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        order = int(attribute(node, "p", 2))

        def global_lp_pool(x: torch.Tensor) -> torch.Tensor:
            return _root(x.abs().pow(order).sum(list(range(2, x.dim())), keepdim=True), order)

        return global_lp_pool


def _root(sums: torch.Tensor, order: int) -> torch.Tensor:
    """Returns the root of that order; the derivative at zero is taken as zero, not as infinite."""
    import torch

    empty = sums == 0
    return torch.where(empty, sums, torch.where(empty, torch.ones_like(sums), sums).pow(1 / order))
