"""GridSample and AffineGrid: pixels read at positions that another tensor gives; channels go through."""

from __future__ import annotations

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
    integers,
    open_atoms,
)
from onnxprune.ops.common import SPATIAL, fresh, pin_input
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["AffineGrid", "GridSample"]


@register_op
class GridSample(OpRule):
    """out[n, c, p…] = x[n, c] interpolated at grid[n, p…]."""

    names = ("GridSample",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        x, grid = ctx.axes(node.inputs[0].name), ctx.axes(node.inputs[1].name)
        unify(x[0], grid[0], describe(node))
        for axis in (*x[2:], *grid[1:]):
            pin(axis, f"{describe(node)}: {SPATIAL}")
        return [[x[0], x[1], *grid[1:-1]]]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        x, output = node.inputs[0].name, node.outputs[0].name
        for atom in open_atoms(ctx, output):
            ctx.set(output, atom, Mask.ZERO if ctx.state(x, atom) is Mask.ZERO else Mask.FINITE)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch.nn.functional as F

        # versions 16 and 20 have names of their own for the same modes
        mode = str(attribute(node, "mode", "linear")).removeprefix("bi")
        kind = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
        padding = str(attribute(node, "padding_mode", "zeros"))
        corners = bool(attribute(node, "align_corners", 0))
        return lambda x, grid: F.grid_sample(x, grid.to(x.dtype), kind, padding, corners)


@register_op
class AffineGrid(OpRule):
    """A grid of positions for each affine map of `theta`."""

    names = ("AffineGrid",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        pin_input(node, 1, ctx, "reads it as a shape")
        pin_input(node, 0, ctx, "reads it as affine maps")
        theta, shape = ctx.axes(node.inputs[0].name), ctx.shape(node.outputs[0].name)
        return [[theta[0], *fresh(shape[1:], f"{describe(node)} gives positions")]]

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch.nn.functional as F

        corners, static = bool(attribute(node, "align_corners", 0)), integers(node, "size", 1, ctx.constant)

        def affine_grid(theta: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
            return F.affine_grid(theta, static if static is not None else [int(s) for s in size.tolist()], corners)

        return affine_grid
