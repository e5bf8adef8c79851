"""Broadcasting operators of several inputs: equal positions must keep equal channels."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from onnxprune.axes import Atom, pin
from onnxprune.ops.base import (
    AxisContext,
    AxisList,
    Mask,
    MaskContext,
    OpRule,
    TwinContext,
    attribute,
    describe,
    open_atoms,
)
from onnxprune.ops.common import broadcast, product_mask, set_all, sum_mask
from onnxprune.ops.positive import surely_positive
from onnxprune.ops.registry import register_op
from onnxprune.ops.unsigned import with_unsigned

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["Additive", "Comparison", "Div", "Mul", "Pow", "Where"]


def _term(name: str, atom: Atom, ctx: MaskContext) -> Mask:
    """Returns what a term holds at masked channels, those that it is repeated over included."""
    state = ctx.state(name, atom)
    value = ctx.constant(name) if state is Mask.ABSENT else None
    return Mask.ZERO if value is not None and not np.any(value) else state


class _Broadcasting(OpRule):
    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        operands = [ctx.axes(t.name) for t in node.inputs if t.name]
        return [broadcast(operands, ctx.shape(node.outputs[0].name), describe(node))]


@register_op
class Additive(_Broadcasting):
    """f(0, …, 0) = 0: zero where every operand is zero."""

    names = ("Add", "Max", "Mean", "Min", "Sub", "Sum")

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        for atom in open_atoms(ctx, node.outputs[0].name):
            ctx.set(node.outputs[0].name, atom, sum_mask([_term(t.name, atom, ctx) for t in node.inputs]))

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        if node.op == "Sub":
            return with_unsigned(torch.sub, np.subtract)
        pairwise = {"Max": torch.maximum, "Min": torch.minimum}.get(node.op, torch.add)
        if node.op == "Mean":
            return lambda *xs: functools.reduce(pairwise, xs) / len(xs)
        substitute = {"Max": np.maximum, "Min": np.minimum}.get(node.op, np.add)
        return with_unsigned(lambda *xs: functools.reduce(pairwise, xs), substitute)


@register_op
class Mul(_Broadcasting):
    """Zero where any factor is zero."""

    names = ("Mul",)

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        for atom in open_atoms(ctx, node.outputs[0].name):
            ctx.set(node.outputs[0].name, atom, product_mask([ctx.state(t.name, atom) for t in node.inputs]))

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        return with_unsigned(torch.mul, np.multiply)


@register_op
class Div(_Broadcasting):
    """A masked divisor must not be zero: per-channel divisors that are weights are masked to one."""

    names = ("Div",)

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        numerator, divisor = node.inputs[0].name, node.inputs[1].name
        if ctx.constant(divisor) is not None:
            ctx.fill(divisor, 1)
        elif not surely_positive(node.inputs[1], ctx):
            for atom in open_atoms(ctx, divisor):
                pin(atom, f"{describe(node)} divides by channels that may be zero where masked")
        output = node.outputs[0].name
        for atom in open_atoms(ctx, output):
            ctx.set(output, atom, Mask.ZERO if ctx.state(numerator, atom) is Mask.ZERO else Mask.FINITE)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        def div(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return x / y if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")

        return with_unsigned(div, np.floor_divide)


@register_op
class Pow(_Broadcasting):
    """Zero stays zero under a positive constant exponent; anything else is not promised."""

    names = ("Pow",)

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        base, output = node.inputs[0].name, node.outputs[0].name
        exponent = ctx.constant(node.inputs[1].name)
        if exponent is None or bool((exponent <= 0).any()):
            for atom in open_atoms(ctx, output):
                pin(atom, f"{describe(node)} may be infinite on masked channels")
        for atom in open_atoms(ctx, output):
            ctx.set(output, atom, Mask.ZERO if ctx.state(base, atom) is Mask.ZERO else Mask.FINITE)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        exponent = ctx.constant(node.inputs[1].name)
        if exponent is not None and exponent.size == 1:
            number = exponent.reshape(-1)[0].item()
            return lambda x, _: torch.pow(x, number).to(x.dtype)
        return lambda x, y: torch.pow(x, y).to(x.dtype)


@register_op
class Comparison(_Broadcasting):
    """Comparisons and logic: finite, never weights."""

    names = ("And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Mod", "Or", "Xor")

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        if node.op == "Mod":
            for atom in open_atoms(ctx, node.inputs[1].name):
                pin(atom, f"{describe(node)} divides by channels that may be zero where masked")
        set_all(node, ctx, Mask.FINITE)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        if node.op == "Mod":
            return with_unsigned(torch.fmod if attribute(node, "fmod", 0) else torch.remainder, np.remainder)
        functions: dict[str, tuple[Callable[..., torch.Tensor], np.ufunc]] = {
            "And": (torch.logical_and, np.logical_and),
            "Equal": (torch.eq, np.equal),
            "Greater": (torch.gt, np.greater),
            "GreaterOrEqual": (torch.ge, np.greater_equal),
            "Less": (torch.lt, np.less),
            "LessOrEqual": (torch.le, np.less_equal),
            "Or": (torch.logical_or, np.logical_or),
            "Xor": (torch.logical_xor, np.logical_xor),
        }
        return with_unsigned(*functions[node.op])


@register_op
class Where(_Broadcasting):
    """Zero where both branches are."""

    names = ("Where",)

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        output = node.outputs[0].name
        for atom in open_atoms(ctx, output):
            ctx.set(output, atom, sum_mask([_term(t.name, atom, ctx) for t in node.inputs[1:]]))

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        return torch.where
