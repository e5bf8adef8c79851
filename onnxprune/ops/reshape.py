"""Reshape, Flatten, Squeeze, Unsqueeze: the same elements in row-major order.

Prod(input axes) = Prod(output axes). Only Reshape bakes sizes in; after removal, a constant
target has its changed entries rewritten, and a computed one keeps its dynamic entries.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from onnxprune.axes import leaves, pin
from onnxprune.ops.base import (
    AxisContext,
    AxisList,
    Edit,
    OldEntry,
    OpRule,
    ShapePart,
    TwinContext,
    attribute,
    describe,
    integers,
)
from onnxprune.ops.common import constant_entries, pin_input, regroup
from onnxprune.ops.plain_ints import ints
from onnxprune.ops.registry import register_op
from onnxprune.ops.run_time_sizes import sizes_change

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["Flatten", "Reshape", "Squeeze", "Unsqueeze"]


@register_op
class Reshape(OpRule):
    """Reshape to a target that is constant or computed."""

    names = ("Reshape",)
    plain_inputs = (1,)
    since = 5

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        pin_input(node, 1, ctx, "reads it as a shape")
        output = node.outputs[0].name
        result = regroup(ctx.axes(node.inputs[0].name), ctx.shape(output), describe(node))
        dynamic = ctx.dynamic(output)
        if ctx.constant(node.inputs[1].name) is None and sum(dynamic) > 1:
            # a computed size is kept as it is computed, so it must not depend on a kept count; -1 adapts by itself
            entries = constant_entries(node.inputs[1], ctx)
            for position, (axis, moves) in enumerate(zip(result, dynamic, strict=True)):
                if moves and len(leaves(axis)) > 1 and entries.get(position) != -1:
                    pin(axis, f"{describe(node)} computes several sizes of its target at run time")
        return [result]

    def repair(self, node: gs.Node, edit: Edit) -> None:
        output = node.outputs[0].name
        sizes = [int(edit.keep(axis).sum()) for axis in edit.axes(output)]
        before = edit.shape(output)
        target = edit.constant(node.inputs[1].name)
        if tuple(sizes) == before and (target is not None or not sizes_change(node.inputs[1], edit)):
            return
        if target is not None:
            entries = [int(v) for v in target]
            new = [s if v > 0 and s != b else v for v, s, b in zip(entries, sizes, before, strict=True)]
            if new != entries:
                edit.set_input(node, 1, np.array(new, dtype=np.int64))
            return
        dynamic = edit.dynamic(output)
        if sum(dynamic) <= 1:
            new = [-1 if moves else s for s, moves in zip(sizes, dynamic, strict=True)]
            edit.set_input(node, 1, np.array(new, dtype=np.int64))
            return
        parts: list[ShapePart] = [OldEntry(i) if moves else sizes[i] for i, moves in enumerate(dynamic)]
        edit.set_shape_input(node, 1, parts)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        static = integers(node, "shape", 1, ctx.constant)
        keep_zero = bool(attribute(node, "allowzero", 0))

        def reshape(x: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
            target = static if static is not None else ints(shape)
            if not keep_zero:
                target = [x.shape[i] if size == 0 else size for i, size in enumerate(target)]
            return x.reshape(target)

        return reshape


@register_op
class Flatten(OpRule):
    """To two axes: those before `axis`, and the rest."""

    names = ("Flatten",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        return [regroup(ctx.axes(node.inputs[0].name), ctx.shape(node.outputs[0].name), describe(node))]

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        start = int(attribute(node, "axis", 1))

        def flatten(x: torch.Tensor) -> torch.Tensor:
            first = start + x.dim() if start < 0 else start
            return x.reshape(math.prod(x.shape[:first]), -1)

        return flatten


class _UnitAxes(OpRule):
    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        pin_input(node, 1, ctx, "reads it as axes")
        return [regroup(ctx.axes(node.inputs[0].name), ctx.shape(node.outputs[0].name), describe(node))]


@register_op
class Squeeze(_UnitAxes):
    """Removes axes of size one."""

    names = ("Squeeze",)
    plain_inputs = (1,)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        static = integers(node, "axes", 1, ctx.constant)

        def squeeze(x: torch.Tensor, axes: torch.Tensor | None = None) -> torch.Tensor:
            dims = static if static is not None or axes is None else ints(axes)
            return x.squeeze() if dims is None else x.squeeze(tuple(dims))

        return squeeze


@register_op
class Unsqueeze(_UnitAxes):
    """Inserts axes of size one."""

    names = ("Unsqueeze",)
    plain_inputs = (1,)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        static = integers(node, "axes", 1, ctx.constant)

        def unsqueeze(x: torch.Tensor, axes: torch.Tensor | None = None) -> torch.Tensor:
            dims = static if static is not None or axes is None else ints(axes)
            rank = x.dim() + len(dims or ())
            for dim in sorted(d % rank for d in dims or ()):
                x = x.unsqueeze(dim)
            return x

        return unsqueeze
