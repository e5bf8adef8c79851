"""NonZero, Compress and Unique: the data decide how many entries come out, so their axes stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from onnxprune.axes import Atom, pin
from onnxprune.ops.base import AxisContext, AxisList, Mask, MaskContext, OpRule, TwinContext, attribute, describe
from onnxprune.ops.common import fresh, pin_input, set_all
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["Compress", "NonZero", "Unique"]


@register_op
class NonZero(OpRule):
    """Where the entries are that are not zero: int64 [rank, count]."""

    names = ("NonZero",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        pin_input(node, 0, ctx, "gives positions along this axis")
        return [fresh(ctx.shape(node.outputs[0].name), f"{describe(node)} gives positions")]

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        return lambda x: torch.stack(torch.nonzero(x, as_tuple=True))


@register_op
class Compress(OpRule):
    """The slices along `axis` where a condition holds; of the flattened tensor without an axis."""

    names = ("Compress",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        pin_input(node, 1, ctx, "reads it as a selection")
        x, shape = ctx.axes(node.inputs[0].name), ctx.shape(node.outputs[0].name)
        reason = f"{describe(node)} selects along this axis"
        at = attribute(node, "axis")
        if at is None:
            pin_input(node, 0, ctx, "selects along this axis")
            return [fresh(shape, reason)]
        place = int(at) % len(x)
        pin(x[place], reason)
        return [[*x[:place], Atom(shape[place], reason), *x[place + 1 :]]]

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        axis = attribute(node, "axis")

        def compress(x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
            places = torch.nonzero(condition).reshape(-1)
            return x.reshape(-1)[places] if axis is None else x.index_select(int(axis), places)

        return compress


@register_op
class Unique(OpRule):
    """The different entries, or slices along `axis`; where each first stood, which is where, and how many."""

    names = ("Unique",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        pin_input(node, 0, ctx, "compares entries of this axis")
        reason = f"{describe(node)} gives different entries"
        return [fresh(ctx.shape(t.name), reason) if t.name else [] for t in node.outputs]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        set_all(node, ctx, Mask.FINITE)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        axis, in_order = attribute(node, "axis"), bool(attribute(node, "sorted", 1))

        def unique(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            plain = x.detach().cpu()
            entries = (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()
            _, first, which, count = np.unique(
                entries, return_index=True, return_inverse=True, return_counts=True, axis=axis
            )
            order = np.arange(len(first)) if in_order else np.argsort(first)
            places = torch.from_numpy(first[order]).to(x.device)
            values = x.reshape(-1)[places] if axis is None else x.index_select(int(axis), places)
            inverse = np.argsort(order)[which.reshape(-1)]
            rest = (torch.from_numpy(a).to(x.device) for a in (inverse, count[order]))
            return (values, places, *rest)

        return unique
