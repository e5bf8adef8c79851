"""Expand: repeats axes of size one. A repeated axis is a fresh atom, free to be pruned; repeated zeros are zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from onnxprune.axes import Atom, leaves, pin
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

__all__ = ["Expand"]


@register_op
class Expand(OpRule):
    """Broadcasts the input to a shape."""

    names = ("Expand",)
    plain_inputs = (1,)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        pin_input(node, 1, ctx, "reads it as a shape")
        x, shape = ctx.axes(node.inputs[0].name), ctx.shape(node.outputs[0].name)
        offset = len(shape) - len(x)
        dynamic = ctx.dynamic(node.outputs[0].name)
        out: AxisList = []
        for position, size in enumerate(shape):
            through = position >= offset and x[position - offset].size == size
            axis = x[position - offset] if through else Atom(size)
            if dynamic[position] and any(not atom.pinned for atom in leaves(axis)):
                pin(axis, f"{describe(node)} computes this size at run time")
            out.append(axis)
        return [out]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        name, output = node.inputs[0].name, node.outputs[0].name
        value = ctx.constant(name)
        all_zero = value is not None and not value.any()
        for atom in open_atoms(ctx, output):
            zero = all_zero or ctx.state(name, atom) is Mask.ZERO
            ctx.set(output, atom, Mask.ZERO if zero else Mask.FINITE)

    def repair(self, node: gs.Node, edit: Edit) -> None:
        name, output = node.inputs[0].name, node.outputs[0].name
        before = edit.shape(output)
        sizes = [int(edit.keep(axis).sum()) for axis in edit.axes(output)]
        target = integers(node, "shape", 1, edit.constant)
        if tuple(sizes) == before and (target is not None or not sizes_change(node.inputs[1], edit)):
            return
        offset = len(before) - len(edit.axes(name))
        through = [i >= offset and edit.shape(name)[i - offset] == before[i] for i in range(len(before))]
        if target is not None:
            # a target of lower rank than the input speaks for its last axes
            lead = len(before) - len(target)
            new = [
                t if sizes[i + lead] == before[i + lead] else (1 if through[i + lead] else sizes[i + lead])
                for i, t in enumerate(target)
            ]
            edit.set_input(node, 1, np.array(new, dtype=np.int64))
            return
        dynamic = edit.dynamic(output)
        parts: list[ShapePart] = [
            1 if through[i] else OldEntry(i) if dynamic[i] else sizes[i] for i in range(len(before))
        ]
        edit.set_shape_input(node, 1, parts)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        static = integers(node, "shape", 1, ctx.constant)

        def expand(x: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
            target = static if static is not None else ints(shape)
            return x.expand(torch.broadcast_shapes(x.shape, tuple(target)))  # type: ignore[no-untyped-call]  # torch leaves it untyped

        return expand
