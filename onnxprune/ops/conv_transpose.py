"""ConvTranspose: the adjoint of Conv. Its weight is [c_in, c_out/g, kernel…]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import Atom, Poly, product, unify
from onnxprune.core.group import Role
from onnxprune.ops.base import (
    AxisContext,
    AxisList,
    Edit,
    MaskContext,
    OpRule,
    SizeContext,
    TwinContext,
    attribute,
    describe,
    input_name,
)
from onnxprune.ops.common import settle_contraction
from onnxprune.ops.conv import GROUPS, keep_groups, spatial_axes
from onnxprune.ops.registry import register_op
from onnxprune.ops.spatial import flat_pads, window

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["ConvTranspose"]


@register_op
class ConvTranspose(OpRule):
    """Transposed convolution."""

    names = ("ConvTranspose",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        x, weight = ctx.axes(node.inputs[0].name), ctx.axes(node.inputs[1].name)
        where, group = describe(node), int(attribute(node, "group", 1))
        unify(weight[0], x[1], where)
        out = weight[1]
        if group > 1:
            groups = Atom(group)
            unify(x[1], product(groups, Atom(weight[0].size // group)), where)
            out = product(groups, weight[1])
            ctx.note(node, GROUPS, groups)
        if input_name(node, 2):
            unify(ctx.axes(input_name(node, 2))[0], out, where)
        return [[x[0], out, *spatial_axes(node, ctx, x, weight)]]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        weight = node.inputs[1].name
        bias = [input_name(node, 2)] if input_name(node, 2) else []
        contracted = [ctx.axes(weight)[0]]
        settle_contraction(node, ctx, weight, contracted, node.inputs[0].name, bias)

    def role(self, node: gs.Node, slot: int, axis: int, rank: int) -> Role:
        if slot != 1 or axis > 1:
            return "vector"
        return "consumer" if axis == 0 else "producer"

    def repair(self, node: gs.Node, edit: Edit) -> None:
        keep_groups(node, edit)

    def macs(self, node: gs.Node, ctx: SizeContext) -> Poly:
        return Poly.product(ctx.sizes(node.inputs[0].name) + ctx.sizes(node.inputs[1].name)[1:])

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch.nn.functional as F

        group = int(attribute(node, "group", 1))

        def conv_transpose(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
            rank = x.dim() - 2
            win = window(node, weight.shape[2:])
            before, size = _output_window(node, x.shape[2:], weight.shape[2:])
            function = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[rank - 1]
            y = function(x, weight, None, win.strides, 0, 0, group, win.dilations)
            short = [max(0, b + s - have) for b, s, have in zip(before, size, y.shape[2:], strict=True)]
            y = F.pad(y, flat_pads([0] * rank, short)) if any(short) else y
            for axis in range(rank):
                y = y.narrow(2 + axis, before[axis], size[axis])
            return y if bias is None else y + bias.view(-1, *[1] * rank)

        return conv_transpose


def _output_window(node: gs.Node, sizes: Sequence[int], kernel: Sequence[int]) -> tuple[list[int], list[int]]:
    """Returns where the output starts in the full transposed convolution, and its size, per axis."""
    rank = len(kernel)
    win = window(node, kernel)
    extra = attribute(node, "output_padding", [0] * rank)
    full = [
        s * (n - 1) + e + (k - 1) * d + 1
        for s, n, e, k, d in zip(win.strides, sizes, extra, kernel, win.dilations, strict=True)
    ]
    shape = attribute(node, "output_shape")
    same = win.auto_pad in ("SAME_UPPER", "SAME_LOWER")
    if shape is None and not same:
        before, after = win.padding(sizes)
        return before, [f - b - a for f, b, a in zip(full, before, after, strict=True)]
    target = list(shape)[-rank:] if shape is not None else [n * s for n, s in zip(sizes, win.strides, strict=True)]
    surplus = [max(f - t, 0) for f, t in zip(full, target, strict=True)]
    before = [s // 2 if win.auto_pad == "SAME_UPPER" else s - s // 2 for s in surplus]
    return before, target
