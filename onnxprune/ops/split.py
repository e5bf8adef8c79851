"""Split: cuts an axis into parts; the parts' sizes follow the channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from onnxprune.axes import Atom, split
from onnxprune.ops.base import (
    AxisContext,
    AxisList,
    Edit,
    OpRule,
    TwinContext,
    attribute,
    describe,
    integers,
)
from onnxprune.ops.common import pin_input
from onnxprune.ops.plain_ints import ints
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["Split"]

SIZES_ARE_AN_INPUT = 13


@register_op
class Split(OpRule):
    """Splits along `axis`; sizes are an attribute up to version 12, an input since, or equal."""

    names = ("Split",)
    plain_inputs = (1,)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        pin_input(node, 1, ctx, "reads it as sizes")
        x = ctx.axes(node.inputs[0].name)
        at = int(attribute(node, "axis", 0)) % len(x)
        parts = split(x[at], [ctx.shape(t.name)[at] for t in node.outputs])
        empty = f"{describe(node)} has an empty part"
        return [[*x[:at], Atom(0, empty) if part is None else part, *x[at + 1 :]] for part in parts]

    def repair(self, node: gs.Node, edit: Edit) -> None:
        name = node.inputs[0].name
        at = int(attribute(node, "axis", 0)) % len(edit.axes(name))
        if edit.keep(edit.axes(name)[at]).all():
            return
        sizes = [int(edit.keep(edit.axes(t.name)[at]).sum()) for t in node.outputs]
        if edit.opset < SIZES_ARE_AN_INPUT:
            node.attrs["split"] = sizes
            return
        node.attrs.pop("num_outputs", None)
        edit.set_input(node, 1, np.array(sizes, dtype=np.int64))

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        dim = int(attribute(node, "axis", 0))
        static = integers(node, "split", 1, ctx.constant)
        count = len(node.outputs)

        def split_tensor(x: torch.Tensor, sizes: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
            parts = static if static is not None or sizes is None else ints(sizes)
            if parts is None:
                size = -(-x.shape[dim] // count)
                parts = [size] * (count - 1) + [x.shape[dim] - size * (count - 1)]
            return torch.split(x, parts, dim)

        return split_tensor
