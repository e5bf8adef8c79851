"""Pools: channels pass through, spatial axes are pinned. Padding never mixes channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import Atom, pin
from onnxprune.ops.base import AxisContext, AxisList, MaskContext, OpRule, TwinContext, attribute, describe
from onnxprune.ops.common import SPATIAL
from onnxprune.ops.registry import register_op
from onnxprune.ops.spatial import flat_pads, window

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["AveragePool", "GlobalPool", "MaxPool", "padding"]


class _Pool(OpRule):
    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        x = ctx.axes(node.inputs[0].name)
        for axis in x[2:]:
            pin(axis, f"{describe(node)}: {SPATIAL}")
        outputs: list[AxisList] = []
        for output in node.outputs:
            spatial = ctx.shape(output.name)[2:]
            outputs.append([*x[:2], *(Atom(size, f"{describe(node)}: {SPATIAL}") for size in spatial)])
        return outputs


def padding(node: gs.Node, x: torch.Tensor) -> tuple[list[int], list[int], list[int]]:
    """Returns padding before, padding after, and what ceil_mode adds after that, per axis."""
    win = window(node, attribute(node, "kernel_shape"))
    before, after = win.padding(x.shape[2:])
    if not attribute(node, "ceil_mode", 0):
        return before, after, [0] * len(before)
    extra = []
    for size, k, s, d, b, a in zip(x.shape[2:], win.kernel, win.strides, win.dilations, before, after, strict=True):
        reach = (k - 1) * d + 1
        count = math.ceil((size + b + a - reach) / s) + 1
        if (count - 1) * s >= size + b:  # a window may not start in the padding
            count -= 1
        extra.append(max(0, (count - 1) * s + reach - size - b - a))
    return before, after, extra


@register_op
class MaxPool(_Pool):
    """Largest value under a window; the optional second output holds flat indices."""

    names = ("MaxPool",)

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        super().masked(node, ctx)
        if len(node.outputs) > 1:
            # flat indices count all channels, so they shift when one is removed
            for axis in ctx.axes(node.outputs[1].name)[:2]:
                pin(axis, f"{describe(node)} gives indices that count channels")

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch.nn.functional as F

        win = window(node, attribute(node, "kernel_shape"))
        rank = len(win.kernel)

        def max_pool(x: torch.Tensor) -> torch.Tensor:
            before, after, extra = padding(node, x)
            after = [a + e for a, e in zip(after, extra, strict=True)]
            function = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[rank - 1]
            if before == after and all(2 * p <= k for p, k in zip(before, win.kernel, strict=True)):
                return function(x, win.kernel, win.strides, before, win.dilations)
            padded = F.pad(x, flat_pads(before, after), value=-math.inf)
            return function(padded, win.kernel, win.strides, 0, win.dilations)

        def with_indices(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            before, after, extra = padding(node, x)
            after = [a + e for a, e in zip(after, extra, strict=True)]
            function = (F.max_pool1d_with_indices, F.max_pool2d_with_indices, F.max_pool3d_with_indices)[rank - 1]
            padded = F.pad(x, flat_pads(before, after), value=-math.inf)
            y, flat = function(padded, win.kernel, win.strides, [0] * rank, win.dilations)
            column_major = bool(attribute(node, "storage_order", 0))
            return y, _unpadded_indices(flat, padded.shape[2:], x.shape, before, column_major=column_major)

        return with_indices if len(node.outputs) > 1 else max_pool


def _unpadded_indices(
    flat: torch.Tensor, padded: Sequence[int], shape: Sequence[int], before: Sequence[int], *, column_major: bool
) -> torch.Tensor:
    """Turns flat positions within each padded map into flat positions within the whole unpadded input."""
    import torch

    places: list[torch.Tensor] = []
    for size, pad in zip(reversed(padded), reversed(before), strict=True):
        places.insert(0, flat % size - pad)
        flat = flat // size
    index = torch.zeros_like(flat)
    order = list(zip(places, shape[2:], strict=True))
    for place, size in reversed(order) if column_major else order:
        index = index * size + place
    maps = torch.arange(shape[0] * shape[1], device=flat.device).view(shape[0], shape[1], *[1] * len(places))
    return index + maps * math.prod(shape[2:])


@register_op
class AveragePool(_Pool):
    """Mean under a window; padding counts only where count_include_pad says so."""

    names = ("AveragePool",)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch
        import torch.nn.functional as F

        win = window(node, attribute(node, "kernel_shape"))
        rank, count_pad = len(win.kernel), bool(attribute(node, "count_include_pad", 0))
        plain = all(d == 1 for d in win.dilations)

        def average_pool(x: torch.Tensor) -> torch.Tensor:
            before, after, extra = padding(node, x)
            half = all(2 * p <= k for p, k in zip(before, win.kernel, strict=True))
            if plain and before == after and not any(extra) and half:
                pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[rank - 1]
                return pool(x, win.kernel, win.strides, before, False, count_pad)
            ones = torch.ones(1, 1, *win.kernel, dtype=x.dtype, device=x.device)
            conv = (F.conv1d, F.conv2d, F.conv3d)[rank - 1]
            inside = torch.ones(1, 1, *x.shape[2:], dtype=x.dtype, device=x.device)
            inside = F.pad(inside, flat_pads(before, after), value=1.0 if count_pad else 0.0)
            inside = F.pad(inside, flat_pads([0] * rank, extra))
            wide = F.pad(
                x.reshape(-1, 1, *x.shape[2:]), flat_pads(before, [a + e for a, e in zip(after, extra, strict=True)])
            )
            y = conv(wide, ones, None, win.strides, 0, win.dilations)
            y = y / conv(inside, ones, None, win.strides, 0, win.dilations)
            return y.reshape(*x.shape[:2], *y.shape[2:])

        return average_pool


@register_op
class GlobalPool(_Pool):
    """One value per channel."""

    names = ("GlobalAveragePool", "GlobalMaxPool")

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        def pool(x: torch.Tensor) -> torch.Tensor:
            dims = list(range(2, x.dim()))
            return x.mean(dims, keepdim=True) if node.op == "GlobalAveragePool" else x.amax(dims, keepdim=True)

        return pool
