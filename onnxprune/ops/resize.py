"""Resize and Upsample: interpolation of the axes that change; the others pass through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from onnxprune.axes import Atom, pin
from onnxprune.ops.base import (
    AxisContext,
    AxisList,
    Edit,
    OldEntry,
    OpRule,
    RunTimeSize,
    ShapePart,
    TwinContext,
    attribute,
    describe,
    input_name,
)
from onnxprune.ops.common import pin_input
from onnxprune.ops.interpolate import ResizeOptions, resize
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["Resize"]

SIZES_SLOT = 3


@register_op
class Resize(OpRule):
    """Resize by scales or to sizes."""

    names = ("Resize", "Upsample")

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        for slot in range(1, len(node.inputs)):
            pin_input(node, slot, ctx, "reads it as scales or sizes")
        x, shape = ctx.axes(node.inputs[0].name), ctx.shape(node.outputs[0].name)
        out: AxisList = []
        for axis, size in zip(x, shape, strict=True):
            if axis.size == size:
                out.append(axis)
            else:
                pin(axis, f"{describe(node)} interpolates this axis")
                out.append(Atom(size, f"{describe(node)} interpolates this axis"))
        return [out]

    def repair(self, node: gs.Node, edit: Edit) -> None:
        if not input_name(node, SIZES_SLOT):
            return
        name, before = node.inputs[0].name, edit.shape(node.outputs[0].name)
        places = attribute(node, "axes", list(range(len(before))))
        sizes = [int(edit.keep(edit.axes(name)[p]).sum()) for p in places]
        if all(size == edit.shape(name)[p] for size, p in zip(sizes, places, strict=True)):
            return
        target = edit.constant(node.inputs[SIZES_SLOT].name)
        through = [edit.shape(name)[p] == before[p] for p in places]
        if target is not None:
            new = [size if same else int(t) for size, same, t in zip(sizes, through, target, strict=True)]
            edit.set_input(node, SIZES_SLOT, np.array(new, dtype=np.int64))
            return
        parts: list[ShapePart] = [
            RunTimeSize(name, place) if same else OldEntry(i)
            for i, (place, same) in enumerate(zip(places, through, strict=True))
        ]
        edit.set_shape_input(node, SIZES_SLOT, parts)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        options = ResizeOptions.of(node, ctx.opset)
        old_form = node.op == "Upsample" or ctx.opset < 11  # scales were the second input then

        def constant(slot: int) -> list[float] | None:
            value = ctx.constant(input_name(node, slot)) if input_name(node, slot) else None
            return None if value is None or value.size == 0 else [float(v) for v in value.reshape(-1)]

        static_roi = None if old_form else constant(1)
        static_scales = attribute(node, "scales") or constant(1 if old_form else 2)
        static_sizes = None if old_form else constant(SIZES_SLOT)

        def run(x: torch.Tensor, *inputs: torch.Tensor | None) -> torch.Tensor:
            given = [None if t is None or t.numel() == 0 else [float(v) for v in t.tolist()] for t in inputs]
            given += [None] * (3 - len(given))
            if old_form:
                return resize(x, options, None, static_scales or given[0], None)
            sizes = static_sizes or given[2]
            whole = None if sizes is None else [int(s) for s in sizes]
            return resize(x, options, static_roi or given[0], static_scales or given[1], whole)

        return run
