"""ScatterElements, Scatter and ScatterND: data with some entries replaced or combined.

What the indices address stays whole; axes that data, indices and updates share are carried along,
and hold zero at masked channels where both data and updates do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import pin, unify
from onnxprune.ops.base import (
    AxisContext,
    AxisList,
    MaskContext,
    OpRule,
    TwinContext,
    attribute,
    describe,
    open_atoms,
)
from onnxprune.ops.common import pin_input, sum_mask
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["ScatterElements", "ScatterND"]

_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


class _Scatter(OpRule):
    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        data, _, updates = (t.name for t in node.inputs)
        output = node.outputs[0].name
        for atom in open_atoms(ctx, output):
            ctx.set(output, atom, sum_mask([ctx.state(data, atom), ctx.state(updates, atom)]))


@register_op
class ScatterElements(_Scatter):
    """out[index[i, j], j] = updates[i, j] for axis 0."""

    names = ("Scatter", "ScatterElements")

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        x, index, updates = (ctx.axes(t.name) for t in node.inputs)
        at = int(attribute(node, "axis", 0)) % len(x)
        for position, axes in enumerate(zip(x, index, updates, strict=True)):
            data, places, values = axes
            unify(places, values, describe(node))
            if position != at and data.size == places.size:
                unify(data, places, describe(node))
                continue
            for axis in axes:
                pin(axis, f"{describe(node)} writes at positions along this axis")
        return [list(x)]

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        axis, reduction = int(attribute(node, "axis", 0)), str(attribute(node, "reduction", "none"))

        def scatter_elements(x: torch.Tensor, index: torch.Tensor, updates: torch.Tensor) -> torch.Tensor:
            index = index.long()
            index = torch.where(index < 0, index + x.shape[axis], index)
            if reduction == "none":
                return torch.scatter(x, axis, index, updates)
            return torch.scatter_reduce(x, axis, index, updates, _REDUCTIONS[reduction])

        return scatter_elements


@register_op
class ScatterND(_Scatter):
    """out[index[p…, :], c…] = updates[p…, c…]: the axes c are carried along."""

    names = ("ScatterND",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        x, index, updates = (ctx.axes(t.name) for t in node.inputs)
        pin_input(node, 1, ctx, "reads it as positions")
        places, depth = len(index) - 1, index[-1].size
        for axis in (*x[:depth], *updates[:places]):
            pin(axis, f"{describe(node)} writes at positions along this axis")
        for data, values in zip(x[depth:], updates[places:], strict=True):
            unify(data, values, describe(node))
        return [list(x)]

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        reduction = str(attribute(node, "reduction", "none"))

        def scatter_nd(x: torch.Tensor, index: torch.Tensor, updates: torch.Tensor) -> torch.Tensor:
            depth = index.shape[-1]
            lead, rest = x.shape[:depth], x.shape[depth:]
            flat = index.new_zeros(index.shape[:-1], dtype=torch.int64)
            for size, place in zip(lead, index.long().unbind(-1), strict=True):
                flat = flat * size + torch.where(place < 0, place + size, place)
            rows = flat.reshape(-1)
            values = updates.reshape(len(rows), *rest)
            table = x.reshape(-1, *rest)
            if reduction == "none":
                return table.index_copy(0, rows, values).reshape(x.shape)
            wide = rows.reshape(-1, *[1] * len(rest)).expand(values.shape)
            return torch.scatter_reduce(table, 0, wide, values, _REDUCTIONS[reduction]).reshape(x.shape)

        return scatter_nd
