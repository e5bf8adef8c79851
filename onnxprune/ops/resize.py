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
from onnxprune.ops.common import constant_entries, pin_input
from onnxprune.ops.interpolate import ResizeOptions, resize
from onnxprune.ops.plain_ints import PlainInts, ints
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
    plain_inputs = (SIZES_SLOT,)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        for slot in range(1, len(node.inputs)):
            pin_input(node, slot, ctx, "reads it as scales or sizes")
        x, shape = ctx.axes(node.inputs[0].name), ctx.shape(node.outputs[0].name)
        still = self._untouched(node, ctx, len(x))
        out: AxisList = []
        for position, (axis, size) in enumerate(zip(x, shape, strict=True)):
            if axis.size == size and still[position]:
                out.append(axis)
            else:
                pin(axis, f"{describe(node)} interpolates this axis")
                out.append(Atom(size, f"{describe(node)} interpolates this axis"))
        return [out]

    @staticmethod
    def _untouched(node: gs.Node, ctx: AxisContext, rank: int) -> list[bool]:
        """Returns which axes keep their places if they keep their size: equal sizes alone do not say so."""
        places = [int(p) % rank for p in attribute(node, "axes", range(rank))]
        mode = attribute(node, "coordinate_transformation_mode", "half_pixel")
        if mode == "tf_crop_and_resize" or attribute(node, "keep_aspect_ratio_policy", "stretch") != "stretch":
            return [position not in places for position in range(rank)]
        if input_name(node, SIZES_SLOT):
            return [True] * rank
        slot = 2 if len(node.inputs) > 2 else 1
        stated = attribute(node, "scales")  # an attribute of Upsample before version 9
        if stated is None and not input_name(node, slot):
            return [True] * rank
        scales = dict(enumerate(stated)) if stated is not None else constant_entries(node.inputs[slot], ctx)
        return [position not in places or scales.get(places.index(position)) == 1 for position in range(rank)]

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

        static_scales = attribute(node, "scales") or constant(1 if old_form else 2)
        static_roi, static_floats = (None, None) if old_form else (constant(1), constant(SIZES_SLOT))
        static_sizes = None if static_floats is None else [int(size) for size in static_floats]

        def run(
            x: torch.Tensor,
            first: torch.Tensor | None = None,
            second: torch.Tensor | None = None,
            sizes: torch.Tensor | PlainInts | None = None,
        ) -> torch.Tensor:
            # the tensor of a constant is never read: a compiler cannot follow, and a device would wait
            if old_form:
                return resize(x, options, None, static_scales or _entries(first), None)
            roi, scales = static_roi or _entries(first), static_scales or _entries(second)
            return resize(x, options, roi, scales, static_sizes or (None if sizes is None else ints(sizes) or None))

        return run


def _entries(value: torch.Tensor | None) -> list[float] | None:
    return None if value is None or value.numel() == 0 else [float(v) for v in value.tolist()]
