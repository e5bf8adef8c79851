"""Between real numbers and integers: q = sat(round(x / s) + z), x = (q − z) s.

The scale s and the zero point z are one number, or one per channel of `axis`, or (blocked) one
per run of `block_size` elements. A masked scale makes DequantizeLinear give zero; QuantizeLinear
divides by its own, which is therefore masked to one. An integer stands for zero where it equals
z, so `real_state` follows a quantised tensor back to the real one that it was made of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from onnxprune.axes import Atom, leaves, pin, unify
from onnxprune.core.group import Role
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
    open_atoms,
)
from onnxprune.ops.common import set_all
from onnxprune.ops.identity import torch_dtype
from onnxprune.ops.registry import find_rule, register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear", "real_state"]

_QUANTISERS = ("DynamicQuantizeLinear", "QuantizeLinear")
_MOVERS = ("Flatten", "Identity", "MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
_NEWEST = 10**5


def _zero_point(name: str, ctx: MaskContext) -> float | None:
    """Returns a zero point that is one number (an absent one is zero), or None."""
    value = ctx.constant(name) if name else np.zeros(1)
    if value is None or value.size == 0:
        return None
    numbers = value.astype(np.float64).reshape(-1)
    return float(numbers[0]) if bool((numbers == numbers[0]).all()) else None


def _source(tensor: gs.Tensor) -> gs.Tensor:
    """Returns the tensor whose elements `tensor` holds, seen through nodes that move elements."""
    while tensor.inputs and tensor.inputs[0].op in _MOVERS and tensor.inputs[0].outputs[0] is tensor:
        tensor = tensor.inputs[0].inputs[0]
    return tensor


def real_state(tensor: gs.Tensor, zero_point: str, atom: Atom, ctx: MaskContext) -> Mask:
    """Returns what the numbers that a quantised tensor stands for are at masked channels.

    Args:
        tensor: The quantised tensor. Masked slices of a weight are asked to hold its zero point.
        zero_point: Name of the zero point that its reader subtracts, "" for none.
        atom: The masked channels.
        ctx: Mask states.
    """
    zero, source = _zero_point(zero_point, ctx), _source(tensor)
    state = ctx.state(tensor.name, atom)
    if state is Mask.ABSENT or (state is Mask.ZERO and zero == 0):
        return state
    if ctx.constant(source.name) is not None:
        return Mask.ZERO if zero is not None and ctx.fill(source.name, zero) else Mask.FINITE
    maker = source.inputs[0] if source.inputs else None
    if maker is None or maker.op not in _QUANTISERS or maker.outputs[0] is not source:
        return Mask.FINITE
    own = maker.outputs[2].name if maker.op == "DynamicQuantizeLinear" else input_name(maker, 2)
    same = own == zero_point or (zero is not None and _zero_point(own, ctx) == zero)
    return ctx.state(maker.inputs[0].name, atom) if same else Mask.FINITE


class _Linear(OpRule):
    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        x, where = ctx.axes(node.inputs[0].name), describe(node)
        for tensor in node.inputs[1:]:
            axes = ctx.axes(tensor.name)
            if len(axes) == 1 and axes[0].size > 1:
                unify(x[int(attribute(node, "axis", 1))], axes[0], where)
            elif attribute(node, "block_size", 0) and len(axes) == len(x):
                self._blocked(node, x, axes)
        return [list(x)]

    @staticmethod
    def _blocked(node: gs.Node, x: AxisList, scale: AxisList) -> None:
        along = int(attribute(node, "axis", 1)) % len(x)
        for position, (a, b) in enumerate(zip(x, scale, strict=True)):
            if position == along:
                pin(a, f"{describe(node)} has one scale per block of this axis")
                pin(b, f"{describe(node)} has one scale per block of this axis")
            else:
                unify(a, b, describe(node))

    def role(self, node: gs.Node, slot: int, axis: int, rank: int) -> Role:
        # a quantised weight is to the channels what the number behind it is to the layer that reads it
        for reader in node.outputs[0].outputs if slot == 0 else ():
            rule = find_rule(reader.domain, reader.op, _NEWEST)
            place = next(i for i, t in enumerate(reader.inputs) if t is node.outputs[0])
            return "vector" if rule is None else rule.role(reader, place, axis, rank)
        return "vector"


@register_op
class QuantizeLinear(_Linear):
    """From real numbers to integers."""

    names = ("QuantizeLinear",)
    since = 10

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        x, scale, output = node.inputs[0].name, node.inputs[1].name, node.outputs[0].name
        if ctx.constant(scale) is not None:
            ctx.fill(scale, 1)
        else:
            for atom in open_atoms(ctx, scale):
                pin(atom, f"{describe(node)} divides by channels that may be zero where masked")
        from_zero = _zero_point(input_name(node, 2), ctx) == 0
        for atom in open_atoms(ctx, output):
            zero = from_zero and ctx.state(x, atom) is Mask.ZERO
            ctx.set(output, atom, Mask.ZERO if zero else Mask.FINITE)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        axis, block = int(attribute(node, "axis", 1)), int(attribute(node, "block_size", 0))
        stated = torch_dtype(attribute(node, "output_dtype", 0) or np.uint8)
        read_here = bool(node.outputs[0].outputs)

        def quantize(x: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor | None = None) -> torch.Tensor:
            dtype = stated if zero is None else zero.dtype
            exact = x / _spread(scale, x, axis, block)
            # rounding passes gradients on as if it were not there, so integers stay floats inside the module
            q = exact + (torch.round(exact) - exact).detach()
            q = q if zero is None else q + _spread(zero, x, axis, block).to(q.dtype)
            q = torch.clamp(q, torch.iinfo(dtype).min, torch.iinfo(dtype).max)
            return q if read_here else q.to(dtype)

        return quantize


@register_op
class DequantizeLinear(_Linear):
    """From integers to real numbers."""

    names = ("DequantizeLinear",)
    since = 10

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        output = node.outputs[0].name
        for atom in open_atoms(ctx, output):
            states = (ctx.state(node.inputs[1].name, atom), real_state(node.inputs[0], input_name(node, 2), atom, ctx))
            ctx.set(output, atom, Mask.ZERO if Mask.ZERO in states else Mask.FINITE)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        axis, block = int(attribute(node, "axis", 1)), int(attribute(node, "block_size", 0))

        def dequantize(x: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor | None = None) -> torch.Tensor:
            q = x.to(scale.dtype)
            q = q if zero is None else q - _spread(zero, x, axis, block).to(scale.dtype)
            return q * _spread(scale, x, axis, block)

        return dequantize


def _spread(values: torch.Tensor, x: torch.Tensor, axis: int, block: int) -> torch.Tensor:
    """Returns a scale or zero point in a shape that broadcasts with `x`."""
    if values.numel() == 1:
        return values.reshape(())
    if values.dim() == x.dim() and block:
        return values.repeat_interleave(block, axis).narrow(axis, 0, x.shape[axis])
    shape = [1] * x.dim()
    shape[axis] = -1
    return values.reshape(shape)


@register_op
class DynamicQuantizeLinear(OpRule):
    """Scale and zero point from the range of the data, which always holds zero: masked zeros leave it as it is."""

    names = ("DynamicQuantizeLinear",)
    since = 11

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        return [list(ctx.axes(node.inputs[0].name)), [], []]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        x = node.inputs[0].name
        for atom in dict.fromkeys(atom for axis in ctx.axes(x) for atom in leaves(axis)):
            if not atom.pinned and ctx.state(x, atom) is not Mask.ZERO:
                pin(atom, f"{describe(node)} takes the range of channels that are not zero where masked")
        set_all(node, ctx, Mask.FINITE)  # the zero point, which is not zero

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        read_here = bool(node.outputs[0].outputs)

        def dynamic_quantize(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
            low, high = x.detach().amin().clamp(max=0), x.detach().amax().clamp(min=0)
            scale = (high - low) / 255
            scale = torch.where(scale == 0, torch.ones_like(scale), scale)
            zero = torch.round(torch.clamp(-low / scale, 0, 255))
            exact = x / scale
            q = torch.clamp(exact + (torch.round(exact) - exact).detach() + zero, 0, 255)
            return (q if read_here else q.to(torch.uint8)), scale, zero.to(torch.uint8)

        return dynamic_quantize
