"""Reductions. Sums over a masked channel are exact when it is zero; means and extrema are not."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import Atom, leaves, pin
from onnxprune.ops.base import (
    AxisContext,
    AxisList,
    Mask,
    MaskContext,
    OpRule,
    TwinContext,
    attribute,
    describe,
    input_name,
    integers,
    open_atoms,
)
from onnxprune.ops.common import fresh, pin_input, soften
from onnxprune.ops.plain_ints import ints
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["ArgReduce", "Reduce"]

_ADDITIVE = ("ReduceL1", "ReduceL2", "ReduceSum", "ReduceSumSquare")
_STATISTICS = ("ReduceMax", "ReduceMean", "ReduceMin")
_SINGULAR = ("ReduceLogSum", "ReduceLogSumExp", "ReduceProd")


@register_op
class Reduce(OpRule):
    """Reduces over `axes`: an attribute first, an input since version 13 (sum) or 18."""

    names = (*_ADDITIVE, *_SINGULAR, *_STATISTICS)
    plain_inputs = (1,)
    statistics = True

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        pin_input(node, 1, ctx, "reads it as axes")
        x = ctx.axes(node.inputs[0].name)
        shape = ctx.shape(node.outputs[0].name)
        reduced = self._reduced(node, ctx, len(x))
        if reduced is None:
            for axis in x:
                pin(axis, f"{describe(node)} computes its axes at run time")
            return [fresh(shape, f"{describe(node)} computes its axes at run time")]
        out: AxisList = []
        for position, axis in enumerate(x):
            if position not in reduced:
                out.append(axis)
                continue
            if node.op in _STATISTICS:
                soften(axis, ctx, f"{describe(node)} takes statistics over this axis")
            elif node.op in _SINGULAR:
                pin(axis, f"{describe(node)} is not finite over masked channels")
            ctx.note(node, f"reduced{position}", axis)
            if attribute(node, "keepdims", 1):
                out.append(Atom(1, "has size one"))
        return [out]

    @staticmethod
    def _reduced(node: gs.Node, ctx: AxisContext, rank: int) -> list[int] | None:
        axes = integers(node, "axes", 1, ctx.constant)
        if axes is None and input_name(node, 1):
            return None
        if not axes:
            return [] if attribute(node, "noop_with_empty_axes", 0) else list(range(rank))
        return [axis % rank for axis in axes]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        name, output = node.inputs[0].name, node.outputs[0].name
        for position in range(len(ctx.axes(name))):
            axis = ctx.noted(node, f"reduced{position}")
            for atom in dict.fromkeys(leaves(axis)) if axis is not None else ():
                if node.op in _ADDITIVE and not atom.pinned and ctx.state(name, atom) is not Mask.ZERO:
                    pin(atom, f"{describe(node)} sums over channels that are not zero where masked")
        for atom in open_atoms(ctx, output):
            if node.op in _SINGULAR:
                pin(atom, f"{describe(node)} may be infinite on masked channels")
            zero = ctx.state(name, atom) is Mask.ZERO
            ctx.set(output, atom, Mask.ZERO if zero else Mask.FINITE)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        functions: dict[str, Callable[[torch.Tensor, list[int], bool], torch.Tensor]] = {
            "ReduceL1": lambda x, d, k: x.abs().sum(d, keepdim=k),
            "ReduceL2": _length,
            "ReduceLogSum": lambda x, d, k: x.sum(d, keepdim=k).log(),
            "ReduceLogSumExp": lambda x, d, k: torch.logsumexp(x, d, keepdim=k),
            "ReduceMax": lambda x, d, k: _extreme(x, d, k, largest=True),
            "ReduceMean": lambda x, d, k: x.mean(d, keepdim=k),
            "ReduceMin": lambda x, d, k: _extreme(x, d, k, largest=False),
            "ReduceProd": _product,
            "ReduceSum": lambda x, d, k: x.sum(d, keepdim=k, dtype=x.dtype),
            "ReduceSumSquare": lambda x, d, k: x.square().sum(d, keepdim=k),
        }
        function = functions[node.op]
        static = integers(node, "axes", 1, ctx.constant)
        keep = bool(attribute(node, "keepdims", 1))
        noop = bool(attribute(node, "noop_with_empty_axes", 0))

        def reduce(x: torch.Tensor, axes: torch.Tensor | None = None) -> torch.Tensor:
            dims = static if static is not None or axes is None else ints(axes)
            if not dims:
                dims = [] if noop else list(range(x.dim()))
            return function(x, dims, keep) if dims else _pointwise(node.op, x)

        return reduce


def _length(x: torch.Tensor, dims: list[int], keep: bool) -> torch.Tensor:
    """Returns Euclidean lengths, whose gradient at zero is zero: the root of a sum of squares has none there."""
    import torch

    if x.is_floating_point():
        length: torch.Tensor = torch.linalg.vector_norm(x, dim=dims, keepdim=keep)
        return length
    return x.square().sum(dims, keepdim=keep).sqrt()


def _extreme(x: torch.Tensor, dims: list[int], keep: bool, *, largest: bool) -> torch.Tensor:
    """Returns the largest or smallest entries; over no entries the least, or greatest, value of the type."""
    import torch

    places = {d % x.dim() for d in dims} if x.dim() else set()
    if all(x.shape[place] for place in places):
        return x.amax(dims, keepdim=keep) if largest else x.amin(dims, keepdim=keep)
    if x.dtype == torch.bool:
        neutral: float = 0 if largest else 1
    elif x.is_floating_point():
        neutral = -math.inf if largest else math.inf
    else:
        neutral = torch.iinfo(x.dtype).min if largest else torch.iinfo(x.dtype).max
    shape = [1 if i in places else size for i, size in enumerate(x.shape) if keep or i not in places]
    return x.new_full(shape, neutral)


def _product(x: torch.Tensor, dims: list[int], keep: bool) -> torch.Tensor:
    for dim in sorted((d % x.dim() for d in dims), reverse=True):
        x = x.prod(dim, keepdim=keep)
    return x


def _pointwise(op: str, x: torch.Tensor) -> torch.Tensor:
    """What a reduction over no axes does to each element."""
    if op in ("ReduceL1", "ReduceL2"):
        return x.abs()
    if op == "ReduceSumSquare":
        return x.square()
    return x.log() if op == "ReduceLogSum" else x


@register_op
class ArgReduce(OpRule):
    """ArgMax, ArgMin: positions along an axis, which must not shift."""

    names = ("ArgMax", "ArgMin")

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        x = ctx.axes(node.inputs[0].name)
        reduced = int(attribute(node, "axis", 0)) % len(x)
        pin(x[reduced], f"{describe(node)} gives positions along this axis")
        kept: AxisList = [Atom(1, "has size one")] if attribute(node, "keepdims", 1) else []
        return [[*x[:reduced], *kept, *x[reduced + 1 :]]]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        for atom in open_atoms(ctx, node.outputs[0].name):
            ctx.set(node.outputs[0].name, atom, Mask.FINITE)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        dim, keep = int(attribute(node, "axis", 0)), bool(attribute(node, "keepdims", 1))
        function = torch.argmax if node.op == "ArgMax" else torch.argmin

        def arg_reduce(x: torch.Tensor) -> torch.Tensor:
            if attribute(node, "select_last_index", 0):
                return x.shape[dim] - 1 - function(x.flip(dim), dim, keepdim=keep)
            return function(x, dim, keepdim=keep)

        return arg_reduce
