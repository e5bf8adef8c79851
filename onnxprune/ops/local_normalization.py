"""Normalisations without weights: LRN, LpNormalization, MeanVarianceNormalization.

LRN                        y_c = x_c / (b + α/n Σ_{|i − c| ≤ n/2} x_i²)^β    n neighbouring channels
LpNormalization            y = x / ‖x‖_p, and 0 where the norm is 0          along one axis
MeanVarianceNormalization  y = (x − μ) / σ                                   over `axes`
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import Axis, leaves, pin
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
from onnxprune.ops.common import set_all, soften
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["LRN", "LpNormalization", "MeanVarianceNormalization"]


@register_op
class LRN(OpRule):
    """Local response normalisation: removing a channel would give others new neighbours."""

    names = ("LRN",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        x = ctx.axes(node.inputs[0].name)
        pin(x[1], f"{describe(node)} normalises over neighbouring channels")
        return [list(x)]

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch
        import torch.nn.functional as F

        size = int(node.attrs["size"])
        alpha, beta = attribute(node, "alpha", 1e-4), attribute(node, "beta", 0.75)
        bias = attribute(node, "bias", 1.0)

        def lrn(x: torch.Tensor) -> torch.Tensor:
            # an even window reaches one channel further up; torch's own reaches down
            squares = F.pad(x.square().movedim(1, -1), ((size - 1) // 2, size // 2))
            mean = squares.unfold(-1, size, 1).mean(-1).movedim(-1, 1)
            return x / torch.pow(bias + alpha * mean, beta)

        return lrn


@register_op
class LpNormalization(OpRule):
    """The norm is a sum over channels, so those that hold zero leave it as it is."""

    names = ("LpNormalization",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        return [list(ctx.axes(node.inputs[0].name))]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        x, y = node.inputs[0].name, node.outputs[0].name
        for atom in dict.fromkeys(leaves(ctx.axes(x)[int(attribute(node, "axis", -1))])):
            if not atom.pinned and ctx.state(x, atom) is not Mask.ZERO:
                pin(atom, f"{describe(node)} sums over channels that are not zero where masked")
        for atom in open_atoms(ctx, y):
            ctx.set(y, atom, Mask.ZERO if ctx.state(x, atom) is Mask.ZERO else Mask.FINITE)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        axis, order = int(attribute(node, "axis", -1)), int(attribute(node, "p", 2))

        def lp_norm(x: torch.Tensor) -> torch.Tensor:
            norm = torch.linalg.vector_norm(x, order, axis, keepdim=True)
            return x / torch.where(norm == 0, torch.ones_like(norm), norm)

        return lp_norm


@register_op
class MeanVarianceNormalization(OpRule):
    """Statistics over `axes`; onnxruntime gives NaN where all that they are taken over is zero."""

    names = ("MeanVarianceNormalization",)
    since = 9
    statistics = True

    @staticmethod
    def _reduced(node: gs.Node, axes: AxisList) -> list[Axis]:
        return [axes[int(i)] for i in attribute(node, "axes", [0, 2, 3])]

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        x = ctx.axes(node.inputs[0].name)
        for axis in self._reduced(node, x):
            soften(axis, ctx, f"{describe(node)} takes statistics over this axis")
        return [list(x)]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        x = ctx.axes(node.inputs[0].name)
        inside = {atom for axis in self._reduced(node, x) for atom in leaves(axis)}
        for atom in open_atoms(ctx, node.outputs[0].name):
            if atom not in inside:
                pin(atom, f"{describe(node)} divides by a spread of zero on masked channels")
        set_all(node, ctx, Mask.ZERO)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        dims = [int(i) for i in attribute(node, "axes", [0, 2, 3])]

        def mean_variance_norm(x: torch.Tensor) -> torch.Tensor:
            variance, mean = torch.var_mean(x, dims, unbiased=False, keepdim=True)
            return (x - mean) / (variance.sqrt() + 1e-9)

        return mean_variance_norm
