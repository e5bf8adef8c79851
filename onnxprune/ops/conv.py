"""Conv: out[n, o] = Σ_i w[o, i] * x[n, i] + b[o], in 1-D to 3-D, grouped or not.

With group = g the input channels are Prod(G, c_in/g) and the output channels Prod(G, c_out/g):
dropping an atom inside a group drops the same index of every group, dropping G drops whole
groups. A depthwise convolution is the case c_in/g = 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import Atom, Poly, pin, product, unify
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
from onnxprune.ops.common import SPATIAL, settle_contraction
from onnxprune.ops.registry import register_op
from onnxprune.ops.spatial import flat_pads, window

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["Conv", "keep_groups", "spatial_axes"]

GROUPS = "groups"


def spatial_axes(node: gs.Node, ctx: AxisContext, x: AxisList, weight: AxisList) -> AxisList:
    """Pins the spatial axes of input and kernel; returns fresh, pinned ones for the output."""
    for axis in x[2:]:
        pin(axis, f"{describe(node)}: {SPATIAL}")
    for axis in weight[2:]:
        pin(axis, f"{describe(node)}: is a kernel axis")
    return [Atom(size, f"{describe(node)}: {SPATIAL}") for size in ctx.shape(node.outputs[0].name)[2:]]


def keep_groups(node: gs.Node, edit: Edit) -> None:
    """Sets the `group` attribute to the number of groups that stay."""
    groups = edit.noted(node, GROUPS)
    if groups is not None:
        node.attrs["group"] = int(edit.keep(groups).sum())


def _sizes(weight: gs.Tensor) -> list[int] | None:
    """The kernel's size per axis where the weight is an initializer (in QLinearConv, the scale of x has its place)."""
    known = isinstance(weight, gs.Constant) and len(weight.shape) > 2
    return [int(size) for size in weight.shape[2:]] if known else None


@register_op
class Conv(OpRule):
    """Convolution."""

    names = ("Conv",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        x, weight = ctx.axes(node.inputs[0].name), ctx.axes(node.inputs[1].name)
        where, group = describe(node), int(attribute(node, "group", 1))
        if group == 1:
            unify(weight[1], x[1], where)
        else:
            groups = Atom(group)
            unify(x[1], product(groups, weight[1]), where)
            unify(weight[0], product(groups, Atom(weight[0].size // group)), where)
            ctx.note(node, GROUPS, groups)
        if input_name(node, 2):
            unify(ctx.axes(input_name(node, 2))[0], weight[0], where)
        return [[x[0], weight[0], *spatial_axes(node, ctx, x, weight)]]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        weight = node.inputs[1].name
        bias = [input_name(node, 2)] if input_name(node, 2) else []
        contracted = [ctx.axes(weight)[1]]
        settle_contraction(node, ctx, weight, contracted, node.inputs[0].name, bias)

    def role(self, node: gs.Node, slot: int, axis: int, rank: int) -> Role:
        if slot != 1 or axis > 1:
            return "vector"
        return "producer" if axis == 0 else "consumer"

    def repair(self, node: gs.Node, edit: Edit) -> None:
        keep_groups(node, edit)

    def macs(self, node: gs.Node, ctx: SizeContext) -> Poly:
        return Poly.product(ctx.sizes(node.outputs[0].name) + ctx.sizes(node.inputs[1].name)[1:])

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch.nn.functional as F

        group = int(attribute(node, "group", 1))

        def conv(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
            rank = x.dim() - 2
            win = window(node, weight.shape[2:])
            before, after = win.padding(x.shape[2:])
            if before != after:
                x = F.pad(x, flat_pads(before, after))
                before = [0] * rank
            function = (F.conv1d, F.conv2d, F.conv3d)[rank - 1]
            strides = win.strides
            if _skips(weight.shape[2:], before, strides):
                x, strides = x[_every(strides)], (1,) * rank
            return function(x, weight, bias, strides, before, win.dilations, group)

        kernel = attribute(node, "kernel_shape") or _sizes(node.inputs[1])
        fixed = None if kernel is None else window(node, kernel)
        if fixed is None or fixed.auto_pad not in ("NOTSET", "", "VALID"):
            return conv
        pads, after = fixed.padding(())
        if pads != after:
            return conv
        # nothing is left to work out at run time
        function, strides, dilations = (F.conv1d, F.conv2d, F.conv3d)[len(pads) - 1], fixed.strides, fixed.dilations

        def plain_conv(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
            return function(x, weight, bias, strides, pads, dilations, group)

        if kernel is None or not _skips(kernel, pads, strides):
            return plain_conv
        every, ones = _every(strides), [1] * len(pads)

        def skipping_conv(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
            return function(x[every], weight, bias, ones, pads, dilations, group)

        return skipping_conv


def _skips(kernel: Sequence[int], pads: Sequence[int], strides: Sequence[int]) -> bool:
    """Returns whether a convolution looks at single positions and leaves some out.

    It is computed as such: PyTorch 2.13 on a CPU writes past its memory in the weight's gradient of a
    1×1 convolution with a stride above 1, images channels-last and fewer than eight channels, which
    is what pruning makes of a residual net's shortcuts.
    """
    return all(k == 1 for k in kernel) and not any(pads) and any(s > 1 for s in strides)


def _every(strides: Sequence[int]) -> tuple[slice, ...]:
    """The index of the positions that strides lead to."""
    return (slice(None), slice(None), *(slice(None, None, s) for s in strides))
