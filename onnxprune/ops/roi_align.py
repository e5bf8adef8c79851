"""RoiAlign: regions of interest pooled to one size; channels go through.

Each bin of a region is sampled on a grid. A sample at (y, x) reads two rows and two columns with
weights that are a product, so a region is pooled by rows [bins, 2·samples] and columns alike:

    avg: Σ wy·wx·v / samples        max: the largest wy·wx·v
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import pin, unify
from onnxprune.ops.base import (
    AxisContext,
    AxisList,
    Mask,
    MaskContext,
    OpRule,
    TwinContext,
    attribute,
    describe,
    open_atoms,
)
from onnxprune.ops.common import SPATIAL, fresh
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["RoiAlign"]

MODE_IS_AN_ATTRIBUTE = 16


@register_op
class RoiAlign(OpRule):
    """x [n, c, h, w] at regions [count, 4] of images [count] → [count, c, rows, columns]."""

    names = ("RoiAlign",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        x, regions, images = (ctx.axes(t.name) for t in node.inputs)
        unify(regions[0], images[0], describe(node))
        for axis in (x[0], regions[0], regions[1]):
            pin(axis, f"{describe(node)} looks regions up along this axis")
        for axis in x[2:]:
            pin(axis, f"{describe(node)}: {SPATIAL}")
        shape = ctx.shape(node.outputs[0].name)
        return [[regions[0], x[1], *fresh(shape[2:], f"{describe(node)}: {SPATIAL}")]]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        x, output = node.inputs[0].name, node.outputs[0].name
        for atom in open_atoms(ctx, output):
            ctx.set(output, atom, Mask.ZERO if ctx.state(x, atom) is Mask.ZERO else Mask.FINITE)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        scale = float(attribute(node, "spatial_scale", 1.0))
        bins = [int(attribute(node, name, 1)) for name in ("output_height", "output_width")]
        density = int(attribute(node, "sampling_ratio", 0))
        default = "half_pixel" if ctx.opset >= MODE_IS_AN_ATTRIBUTE else "output_half_pixel"
        half_pixel = str(attribute(node, "coordinate_transformation_mode", default)) == "half_pixel"
        pool = _largest if str(attribute(node, "mode", "avg")) == "max" else _mean

        def roi_align(x: torch.Tensor, regions: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
            pooled = []
            for (x1, y1, x2, y2), image in zip((regions * scale).tolist(), images.tolist(), strict=True):
                sides = ((y1, y2), (x1, x2))
                taps = [
                    _taps(x, low, high, size, count, density, half_pixel)
                    for (low, high), size, count in zip(sides, x.shape[2:], bins, strict=True)
                ]
                pooled.append(_pooled(x[image], taps, pool))
            return torch.stack(pooled) if pooled else x.new_zeros((0, x.shape[1], *bins))

        return roi_align


def _taps(
    x: torch.Tensor, low: float, high: float, size: int, bins: int, density: int, half_pixel: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns positions int64 [bins, 2·samples] along one side of a region, and their weights."""
    import torch

    extent = high - low if half_pixel else max(high - low, 1.0)
    samples = density or max(0, math.ceil(extent / bins))
    step = torch.arange(bins, device=x.device)[:, None] + (torch.arange(samples, device=x.device) + 0.5) / samples
    place = low - (0.5 if half_pixel else 0.0) + step * (extent / bins)
    inside = (place >= -1) & (place <= size)
    place = place.clamp(0, size - 1)
    first = place.floor().long().clamp(max=max(size - 2, 0))
    weight = place - first
    positions = torch.cat([first, (first + 1).clamp(max=size - 1)], 1)
    return positions, (torch.cat([1 - weight, weight], 1) * torch.cat([inside, inside], 1)).to(x.dtype)


def _pooled(
    x: torch.Tensor, taps: list[tuple[torch.Tensor, torch.Tensor]], pool: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    (rows, row_weights), (columns, column_weights) = taps
    if not rows.numel() or not columns.numel():
        return x.new_zeros((x.shape[0], len(rows), len(columns)))
    values = x[:, rows[:, :, None, None], columns] * row_weights[:, :, None, None] * column_weights
    return pool(values)


def _mean(values: torch.Tensor) -> torch.Tensor:
    return values.sum((2, 4)) * (4 / (values.shape[2] * values.shape[4]))


def _largest(values: torch.Tensor) -> torch.Tensor:
    return values.amax((2, 4))
