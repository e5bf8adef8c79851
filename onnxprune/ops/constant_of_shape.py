"""ConstantOfShape: one value everywhere, so any of its channels may go.

Exporters fill the first state of a recurrent layer and the start of an accumulator this way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from onnxprune.axes import Atom
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
    attribute,
    describe,
)
from onnxprune.ops.common import pin_input, set_all
from onnxprune.ops.identity import tensor_of
from onnxprune.ops.registry import register_op
from onnxprune.ops.run_time_sizes import sizes_change

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["ConstantOfShape"]


@register_op
class ConstantOfShape(OpRule):
    """A tensor of one value."""

    names = ("ConstantOfShape",)
    since = 9

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        pin_input(node, 0, ctx, "reads it as a shape")
        output, reason = node.outputs[0].name, f"{describe(node)} computes this size at run time"
        sizes = zip(ctx.shape(output), ctx.dynamic(output), strict=True)
        return [[Atom(size, reason if moves else None) for size, moves in sizes]]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        set_all(node, ctx, Mask.FINITE if self._fill(node).any() else Mask.ZERO)

    @staticmethod
    def _fill(node: gs.Node) -> np.ndarray[tuple[int], np.dtype[np.generic]]:
        value = attribute(node, "value")
        return np.zeros(1, dtype=np.float32) if value is None else np.array(value.values).reshape(1)

    def repair(self, node: gs.Node, edit: Edit) -> None:
        output = node.outputs[0].name
        sizes = [int(edit.keep(axis).sum()) for axis in edit.axes(output)]
        changed = tuple(sizes) != edit.shape(output)
        if edit.constant(node.inputs[0].name) is not None:
            if changed:
                edit.set_input(node, 0, np.array(sizes, dtype=np.int64))
        elif changed or sizes_change(node.inputs[0], edit):
            dynamic = edit.dynamic(output)
            parts: list[ShapePart] = [OldEntry(i) if moves else sizes[i] for i, moves in enumerate(dynamic)]
            edit.set_shape_input(node, 0, parts)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        fill = tensor_of(self._fill(node))
        static = ctx.constant(node.inputs[0].name)

        def constant_of_shape(shape: torch.Tensor) -> torch.Tensor:
            sizes = [int(s) for s in (shape.tolist() if static is None else static)]
            return torch.full(sizes, fill.item(), dtype=fill.dtype, device=shape.device)

        return constant_of_shape
