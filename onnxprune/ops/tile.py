"""Tile: an axis repeated k times is Prod(k, axis); an axis of size one becomes a fresh one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from onnxprune.axes import Atom, Axis, product
from onnxprune.ops.base import (
    AxisContext,
    AxisList,
    Edit,
    Mask,
    MaskContext,
    OldEntry,
    OpRule,
    ShapePart,
    TwinContext,
    describe,
    integers,
    open_atoms,
)
from onnxprune.ops.common import pin_input
from onnxprune.ops.plain_ints import ints
from onnxprune.ops.registry import register_op
from onnxprune.ops.run_time_sizes import sizes_change

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["Tile"]


@register_op
class Tile(OpRule):
    """Repeats each axis as often as `repeats` says; the index of the copy is the outer one."""

    names = ("Tile",)
    plain_inputs = (1,)
    since = 6

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        pin_input(node, 1, ctx, "reads it as counts of copies")
        x, output = ctx.axes(node.inputs[0].name), node.outputs[0].name
        sizes = zip(x, ctx.shape(output), ctx.dynamic(output), strict=True)
        return [[self._repeated(node, *axis) for axis in sizes]]

    @staticmethod
    def _repeated(node: gs.Node, axis: Axis, size: int, dynamic: bool) -> Axis:
        if axis.size == size:
            return axis
        if axis.size == 0:
            return Atom(size, f"{describe(node)} repeats an empty axis")
        if axis.size == 1 and not dynamic:
            return Atom(size)
        return product(Atom(size // axis.size, f"{describe(node)} repeats channels this many times"), axis)

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        name, output = node.inputs[0].name, node.outputs[0].name
        value = ctx.constant(name)
        all_zero = value is not None and not value.any()
        for atom in open_atoms(ctx, output):
            zero = all_zero or ctx.state(name, atom) is Mask.ZERO
            ctx.set(output, atom, Mask.ZERO if zero else Mask.FINITE)

    def repair(self, node: gs.Node, edit: Edit) -> None:
        name, output = node.inputs[0].name, node.outputs[0].name
        was = [
            size // before if before else 1 for size, before in zip(edit.shape(output), edit.shape(name), strict=True)
        ]
        counts = [
            int(edit.keep(axis).sum()) if before == 1 else count
            for axis, before, count in zip(edit.axes(output), edit.shape(name), was, strict=True)
        ]
        static = edit.constant(node.inputs[1].name)
        if static is not None:
            if counts != was:
                edit.set_input(node, 1, np.array(counts, dtype=np.int64))
        elif counts != was or sizes_change(node.inputs[1], edit):
            dynamic = edit.dynamic(output)
            parts: list[ShapePart] = [OldEntry(i) if moves else counts[i] for i, moves in enumerate(dynamic)]
            edit.set_shape_input(node, 1, parts)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        static = integers(node, "repeats", 1, ctx.constant)

        def tile(x: torch.Tensor, repeats: torch.Tensor) -> torch.Tensor:
            return x.repeat(static if static is not None else ints(repeats))

        return tile
