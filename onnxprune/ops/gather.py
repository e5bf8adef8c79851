"""Gather: constant positions cut and reorder an axis (`gather_positions`); computed ones need it whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from onnxprune.axes import Axis, pin
from onnxprune.core.group import Role
from onnxprune.ops.base import (
    AnyArray,
    AxisContext,
    AxisList,
    Edit,
    Mask,
    MaskContext,
    OpRule,
    TwinContext,
    attribute,
    describe,
    open_atoms,
)
from onnxprune.ops.common import pin_input, regroup
from onnxprune.ops.gather_positions import picked
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["Gather"]


@register_op
class Gather(OpRule):
    """Takes positions along `axis`; the index's axes replace it."""

    names = ("Gather",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        data, index = ctx.axes(node.inputs[0].name), ctx.axes(node.inputs[1].name)
        at = int(attribute(node, "axis", 0)) % len(data)
        positions = ctx.constant(node.inputs[1].name)
        if positions is None:
            pin(data[at], f"{describe(node)} looks positions up along this axis")
            return [[*data[:at], *index, *data[at + 1 :]]]
        pin_input(node, 1, ctx, "reads it as positions")
        taken = None if self._whole(node, at, positions.size, ctx) else self._taken(node, data[at], positions)
        if taken is None:
            pin(data[at], f"{describe(node)} looks positions up along this axis")
            return [[*data[:at], *index, *data[at + 1 :]]]
        return [[*data[:at], *regroup([taken], positions.shape, describe(node)), *data[at + 1 :]]]

    @staticmethod
    def _whole(node: gs.Node, at: int, count: int, ctx: AxisContext) -> bool:
        name = node.inputs[0].name
        if ctx.constant(name) is None:
            return ctx.dynamic(name)[at]  # positions from the end would mean others in another run
        return count > 1  # rows of a table, such as position embeddings, are no channels

    @staticmethod
    def _taken(node: gs.Node, axis: Axis, positions: AnyArray) -> Axis | None:
        return picked(axis, [int(p) % axis.size for p in positions.reshape(-1)], describe(node))

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        # channels of the index axes are positions, so masked ones still hold looked-up values
        data, output = node.inputs[0].name, node.outputs[0].name
        for atom in open_atoms(ctx, output):
            ctx.set(output, atom, Mask.ZERO if ctx.state(data, atom) is Mask.ZERO else Mask.FINITE)

    def role(self, node: gs.Node, slot: int, axis: int, rank: int) -> Role:
        if slot > 0 or rank < 2:
            return "vector"
        return "consumer" if axis == int(attribute(node, "axis", 0)) % rank else "producer"

    def repair(self, node: gs.Node, edit: Edit) -> None:
        axes = edit.axes(node.inputs[0].name)
        at = int(attribute(node, "axis", 0)) % len(axes)
        keep, positions = edit.keep(axes[at]), edit.constant(node.inputs[1].name)
        if positions is None or keep.all():
            return
        taken = edit.axes(node.outputs[0].name)[at : at + positions.ndim]
        left = positions[np.ix_(*(edit.keep(axis) for axis in taken))]
        moved = (np.cumsum(keep) - 1)[left % len(keep)]
        edit.set_input(node, 1, np.array(moved, dtype=positions.dtype))

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch
        import torch.nn.functional as F

        axis = int(attribute(node, "axis", 0))

        def gather(x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
            dim = axis % max(1, x.dim())
            index = index.long()
            index = torch.where(index < 0, index + x.shape[dim], index)
            if index.dim() == 0:
                return x.index_select(dim, index.reshape(1)).squeeze(dim)
            if dim == 0 and x.dim() == 2 and x.is_floating_point():
                return F.embedding(index, x)
            flat = x.index_select(dim, index.reshape(-1))
            return flat.reshape(*x.shape[:dim], *index.shape, *x.shape[dim + 1 :])

        return gather
