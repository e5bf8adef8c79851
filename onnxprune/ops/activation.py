"""Element-wise operators of one input: axes pass through unchanged.

They differ in what they make of a masked zero. f(0) = 0 keeps it; sigmoid(0) = 0.5 makes it
a finite value, which the consumers' zeroed weights still cancel; log(0) is not finite, and
such channels cannot be certified.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import pin
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
from onnxprune.ops.common import broadcast, pin_input, set_all
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["Clip", "FiniteUnary", "PRelu", "SingularUnary", "ZeroKeepingUnary"]


class _Unary(OpRule):
    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        return [list(ctx.axes(node.inputs[0].name))]

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch
        import torch.nn.functional as F

        alpha = attribute(node, "alpha")
        gamma = attribute(node, "gamma")
        beta = attribute(node, "beta", 0.5)
        approximate = attribute(node, "approximate", "none")

        def selu(x: torch.Tensor) -> torch.Tensor:
            a = 1.67326319217681884765625 if alpha is None else alpha
            g = 1.05070102214813232421875 if gamma is None else gamma
            return g * (torch.clamp(x, min=0) + torch.clamp(a * torch.expm1(x), max=0))

        functions: dict[str, TorchFunction] = {
            "Celu": lambda x: F.celu(x, 1.0 if alpha is None else alpha),
            "Elu": lambda x: F.elu(x, 1.0 if alpha is None else alpha),
            "Gelu": lambda x: F.gelu(x, approximate=approximate),
            "HardSigmoid": lambda x: torch.clamp(x * (0.2 if alpha is None else alpha) + beta, 0, 1),
            "HardSwish": F.hardswish,
            "IsInf": _is_infinite(node),
            "IsNaN": torch.isnan,
            "LeakyRelu": lambda x: F.leaky_relu(x, 0.01 if alpha is None else alpha),
            "Mish": F.mish,
            "Not": torch.logical_not,
            "Selu": selu,
            "Shrink": _shrink(attribute(node, "lambd", 0.5), attribute(node, "bias", 0.0)),
            "Softplus": F.softplus,
            "Softsign": F.softsign,
            "Swish": lambda x: x * torch.sigmoid(x if alpha is None else alpha * x),
            "ThresholdedRelu": lambda x: torch.where(x > (1.0 if alpha is None else alpha), x, torch.zeros_like(x)),
        }
        found = functions.get(node.op)
        if found is not None:
            return found
        plain: TorchFunction = getattr(torch, node.op.lower())
        return plain


def _is_infinite(node: gs.Node) -> TorchFunction:
    import torch

    negative, positive = bool(attribute(node, "detect_negative", 1)), bool(attribute(node, "detect_positive", 1))

    def is_infinite(x: torch.Tensor) -> torch.Tensor:
        if negative and positive:
            return torch.isinf(x)
        plain = torch.isneginf if negative else torch.isposinf
        return plain(x) if negative or positive else torch.zeros_like(x, dtype=torch.bool)

    return is_infinite


def _shrink(threshold: float, bias: float) -> TorchFunction:
    """x + bias below −threshold, x − bias above it, zero between."""
    import torch

    def shrink(x: torch.Tensor) -> torch.Tensor:
        moved = torch.where(x < -threshold, x + bias, torch.where(x > threshold, x - bias, torch.zeros_like(x)))
        return moved.to(x.dtype)

    return shrink


@register_op
class ZeroKeepingUnary(_Unary):
    """f(0) = 0: a masked channel stays zero."""

    names = (
        "Abs", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Celu", "Elu", "Erf", "Floor", "Gelu", "HardSwish",
        "LeakyRelu", "Mish", "Neg", "Relu", "Round", "Selu", "Sign", "Sin", "Sinh", "Softsign", "Sqrt", "Swish",
        "Tan", "Tanh",
    )  # fmt: skip


@register_op
class FiniteUnary(_Unary):
    """f(0) is finite but not zero, or depends on an attribute: nothing is promised."""

    names = (
        "Acos", "Cos", "Cosh", "Exp", "HardSigmoid", "IsInf", "IsNaN", "Not", "Shrink", "Sigmoid", "Softplus",
        "ThresholdedRelu",
    )  # fmt: skip

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        set_all(node, ctx, Mask.FINITE)


@register_op
class SingularUnary(_Unary):
    """f may be infinite where its input is masked, so a masked twin of the model does not exist."""

    names = ("Acosh", "Log", "Reciprocal")

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        for atom in open_atoms(ctx, node.inputs[0].name):
            pin(atom, f"{describe(node)} is not finite on masked channels")
        set_all(node, ctx, Mask.FINITE)


@register_op
class Clip(OpRule):
    """Clamps to [min, max]: attributes up to version 10, scalar inputs since."""

    names = ("Clip",)

    @staticmethod
    def bounds(node: gs.Node, ctx: MaskContext | TwinContext) -> tuple[float | None, float | None] | None:
        """Returns (min, max) where known, or None when one is computed at run time."""
        found: list[float | None] = []
        for slot, key in ((1, "min"), (2, "max")):
            name = input_name(node, slot)
            value = attribute(node, key)
            if name:
                constant = ctx.constant(name)
                if constant is None:
                    return None
                value = constant.reshape(-1)[0].item()
            found.append(value)
        return found[0], found[1]

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        pin_input(node, 1, ctx, "reads it as a bound")
        pin_input(node, 2, ctx, "reads it as a bound")
        return [list(ctx.axes(node.inputs[0].name))]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        bounds = self.bounds(node, ctx)
        low, high = bounds if bounds is not None else (1.0, 0.0)
        keeps_zero = (low is None or low <= 0) and (high is None or high >= 0)
        name = node.inputs[0].name
        for atom in open_atoms(ctx, node.outputs[0].name):
            zero = keeps_zero and ctx.state(name, atom) is Mask.ZERO
            ctx.set(node.outputs[0].name, atom, Mask.ZERO if zero else Mask.FINITE)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch
        import torch.nn.functional as F

        bounds = self.bounds(node, ctx)
        if bounds is None:
            return lambda x, low=None, high=None: torch.clamp(x, low, high)
        low, high = bounds
        if low is None and high is None:
            return lambda x, *_: x

        def clip(x: torch.Tensor, *_: torch.Tensor | None) -> torch.Tensor:
            # hardtanh has a fused backward; clamp on Python floats is the general form
            if low is not None and high is not None and x.is_floating_point() and low <= high:
                return F.hardtanh(x, low, high)
            return torch.clamp(x, low, high)

        return clip


@register_op
class PRelu(OpRule):
    """x where x ≥ 0, slope·x elsewhere; the slope broadcasts."""

    names = ("PRelu",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        operands = [ctx.axes(t.name) for t in node.inputs]
        return [broadcast(operands, ctx.shape(node.outputs[0].name), describe(node))]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        for atom in open_atoms(ctx, node.outputs[0].name):
            zero = ctx.state(node.inputs[0].name, atom) is Mask.ZERO
            ctx.set(node.outputs[0].name, atom, Mask.ZERO if zero else Mask.FINITE)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        return lambda x, slope: torch.where(x >= 0, x, x * slope)
