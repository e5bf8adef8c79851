"""Activations of onnxruntime's own domain, with the bias that its optimizer folds into them.

Gelu           x Φ(x)                     BiasGelu       Gelu(x + b)
FastGelu       the tanh form of x + b     QuickGelu      x σ(α x)
BiasAdd        x + b + skip               BiasSplitGelu  l · Gelu(r), where [l, r] = x + b

All keep zero; with a bias, where the bias is zero too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import split_at, unify
from onnxprune.ops.base import AxisContext, AxisList, MaskContext, OpRule, TwinContext, attribute, describe, open_atoms
from onnxprune.ops.common import broadcast, sum_mask
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["BiasSplitGelu", "BiasedActivation"]


@register_op
class BiasedActivation(OpRule):
    """f(x + terms) with f(0) = 0, of x's shape."""

    names = ("BiasAdd", "BiasGelu", "FastGelu", "Gelu", "QuickGelu")
    domain = "com.microsoft"

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        operands = [ctx.axes(t.name) for t in node.inputs if t.name]
        broadcast(operands, ctx.shape(node.outputs[0].name), describe(node))
        return [list(operands[0])]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        terms = [t.name for t in node.inputs if t.name]
        for atom in open_atoms(ctx, node.outputs[0].name):
            ctx.set(node.outputs[0].name, atom, sum_mask([ctx.state(name, atom) for name in terms]))

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch
        import torch.nn.functional as F

        alpha = attribute(node, "alpha", 1.702)
        functions: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
            "BiasAdd": lambda x: x,
            "FastGelu": lambda x: F.gelu(x, approximate="tanh"),
            "QuickGelu": lambda x: x * torch.sigmoid(alpha * x),
        }
        function = functions.get(node.op, F.gelu)

        def biased(x: torch.Tensor, *terms: torch.Tensor | None) -> torch.Tensor:
            for term in terms:
                x = x if term is None else x + term
            return function(x)

        return biased


@register_op
class BiasSplitGelu(OpRule):
    """The halves of the last axis meet element by element, so they lose the same channels."""

    names = ("BiasSplitGelu",)
    domain = "com.microsoft"

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        x, bias = ctx.axes(node.inputs[0].name), ctx.axes(node.inputs[1].name)
        unify(x[-1], bias[0], describe(node))
        half = x[-1].size // 2
        left, right = split_at(x[-1], half)
        unify(left, right, describe(node))
        return [[*x[:-1], left]]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        x, bias = (t.name for t in node.inputs)
        for atom in open_atoms(ctx, node.outputs[0].name):
            ctx.set(node.outputs[0].name, atom, sum_mask([ctx.state(x, atom), ctx.state(bias, atom)]))

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch.nn.functional as F

        def bias_split_gelu(x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
            left, right = (x + bias).chunk(2, -1)
            return left * F.gelu(right)

        return bias_split_gelu
