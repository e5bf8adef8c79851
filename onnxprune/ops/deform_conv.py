"""DeformConv: a convolution whose taps are moved by offsets (Dai et al. 2017; weighted, Zhu et al. 2019).

    y[n, o, p] = b[o] + Σ_{i, k} w[o, i, k] · m[n, g(i), k, p] · x(n, i, stride p − pad + dilation k + Δ[n, g(i), k, p])

x(·) between the pixels is interpolated linearly along both axes, and zero outside; g(i) is the offset
group of channel i.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.core.errors import ModelError
from onnxprune.ops.base import TwinContext, attribute, describe
from onnxprune.ops.registry import register_twin
from onnxprune.ops.spatial import Window, window
from onnxprune.ops.twin import Twin

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["DeformConv"]

_MAP_RANK = 4


@register_twin
class DeformConv(Twin):
    """Deformable convolution on maps of two dimensions."""

    names = ("DeformConv",)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        group, parts = int(attribute(node, "group", 1)), int(attribute(node, "offset_group", 1))

        def deform_conv(
            x: torch.Tensor,
            weight: torch.Tensor,
            offset: torch.Tensor,
            bias: torch.Tensor | None = None,
            mask: torch.Tensor | None = None,
        ) -> torch.Tensor:
            if x.dim() != _MAP_RANK:
                raise ModelError(
                    f"{describe(node)} convolves a tensor of {x.dim()} axes; only [batch, channels, height, width] "
                    "can be turned into PyTorch. Prune without retraining (no --data)."
                )
            win = window(node, weight.shape[2:])
            batch, height, width = x.shape[0], *offset.shape[2:]
            taps = math.prod(win.kernel)
            rows, columns = _places(win, offset.reshape(batch, parts, taps, 2, height, width))
            maps = x.reshape(batch * parts, -1, *x.shape[2:])
            values = _sampled(maps, rows.flatten(0, 1), columns.flatten(0, 1))  # [batch · parts, channels, taps, h, w]
            if mask is not None:
                values = values * mask.reshape(batch * parts, 1, taps, height, width)
            values = values.reshape(batch, group, -1, taps, height, width)
            kernel = weight.reshape(group, weight.shape[0] // group, weight.shape[1], taps)
            y = torch.einsum("ngiahw,goia->ngohw", values, kernel).reshape(batch, -1, height, width)
            return y if bias is None else y + bias.reshape(-1, 1, 1)

        return deform_conv


def _places(win: Window, offset: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the rows and the columns that the taps read: float [batch, parts, taps, height, width] each."""
    import torch

    found = []
    grid = torch.meshgrid(*(torch.arange(k, device=offset.device) for k in win.kernel), indexing="ij")
    for axis in (0, 1):
        shape = [1, 1, 1, 1, 1]
        shape[3 + axis] = -1
        start = torch.arange(offset.shape[4 + axis], device=offset.device) * win.strides[axis] - win.pads[axis]
        tap = (grid[axis] * win.dilations[axis]).reshape(1, 1, -1, 1, 1)
        found.append(start.reshape(shape) + tap + offset[:, :, :, axis])
    return found[0], found[1]


def _sampled(maps: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Returns maps [n, c, H, W] at rows and columns [n, taps, h, w], interpolated: [n, c, taps, h, w]."""
    import torch

    height, width = maps.shape[2:]
    flat = maps.flatten(2)
    total = torch.zeros((), dtype=maps.dtype, device=maps.device)
    for down in (0, 1):
        row = rows.floor() + down
        for right in (0, 1):
            column = columns.floor() + right
            share = (1 - (rows - row).abs()) * (1 - (columns - column).abs())
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            place = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
            index = place.long().flatten(1).unsqueeze(1).expand(-1, maps.shape[1], -1)
            read = flat.gather(2, index).reshape(*maps.shape[:2], *rows.shape[1:])
            total = total + read * (share * inside).unsqueeze(1)
    return total
