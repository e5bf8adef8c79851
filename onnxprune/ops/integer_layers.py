"""Layers on quantised tensors: ConvInteger, QLinearConv, QLinearMatMul.

With integers q, scales s and zero points z, a real number is s (q − z). ConvInteger sums the products
of (q − z) into int32; the QLinear forms scale that sum by s_a s_b / s_y, round it, add z_y and clamp.
Inside the module an integer that a layer computes stays a float, and rounding passes gradients on as
if it were not there (the straight-through estimator; Bengio, Léonard, Courville 2013).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.ops.base import TwinContext
from onnxprune.ops.conv import Conv
from onnxprune.ops.registry import register_twin
from onnxprune.ops.twin import Twin

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["ConvInteger", "QLinearConv", "QLinearMatMul"]


def _centred(q: torch.Tensor, zero: torch.Tensor | None, rank: int, axis: int) -> torch.Tensor:
    """Returns q − z in float64, which holds every sum exactly; z may have one entry per index of `axis`."""
    wide = q.double()
    return wide if zero is None else wide - _along(zero.double(), rank, axis)


def _along(values: torch.Tensor, rank: int, axis: int) -> torch.Tensor:
    if values.numel() == 1:
        return values.reshape(())
    if values.dim() > 1:
        return values
    shape = [1] * rank
    shape[axis] = -1
    return values.reshape(shape)


def _requantised(
    total: torch.Tensor, factor: torch.Tensor, zero: torch.Tensor, dtype: torch.dtype, *, is_read: bool
) -> torch.Tensor:
    import torch

    exact = total * factor
    q = exact + (torch.round(exact) - exact).detach() + zero.double()
    q = torch.clamp(q, torch.iinfo(dtype).min, torch.iinfo(dtype).max)
    return q.to(factor.dtype) if is_read else q.to(dtype)


@register_twin
class ConvInteger(Twin):
    """A convolution of integers."""

    names = ("ConvInteger",)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        conv, is_read = Conv().torch(node, ctx), bool(node.outputs[0].outputs)

        def conv_integer(
            x: torch.Tensor, w: torch.Tensor, zero_x: torch.Tensor | None = None, zero_w: torch.Tensor | None = None
        ) -> torch.Tensor:
            y = conv(_centred(x, zero_x, x.dim(), 0), _centred(w, zero_w, w.dim(), 0))
            assert isinstance(y, torch.Tensor)  # a convolution has one output
            return y if is_read else y.to(torch.int32)

        return conv_integer


@register_twin
class QLinearConv(Twin):
    """A convolution of quantised tensors to a quantised tensor; the bias is in units of s_x s_w."""

    names = ("QLinearConv",)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        conv, is_read = Conv().torch(node, ctx), bool(node.outputs[0].outputs)

        def qlinear_conv(
            x: torch.Tensor, scale_x: torch.Tensor, zero_x: torch.Tensor,
            w: torch.Tensor, scale_w: torch.Tensor, zero_w: torch.Tensor,
            scale_y: torch.Tensor, zero_y: torch.Tensor, bias: torch.Tensor | None = None,
        ) -> torch.Tensor:  # fmt: skip
            wide = None if bias is None else bias.double()
            total = conv(_centred(x, zero_x, x.dim(), 0), _centred(w, zero_w, w.dim(), 0), wide)
            assert isinstance(total, torch.Tensor)  # a convolution has one output
            factor = scale_x * _along(scale_w, x.dim(), 1) / scale_y
            return _requantised(total, factor, zero_y, zero_y.dtype, is_read=is_read)

        return qlinear_conv


@register_twin
class QLinearMatMul(Twin):
    """A product of quantised matrices to a quantised matrix; scales of one axis go by rows of A, columns of B."""

    names = ("QLinearMatMul",)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        is_read = bool(node.outputs[0].outputs)

        def qlinear_matmul(
            a: torch.Tensor, scale_a: torch.Tensor, zero_a: torch.Tensor,
            b: torch.Tensor, scale_b: torch.Tensor, zero_b: torch.Tensor,
            scale_y: torch.Tensor, zero_y: torch.Tensor,
        ) -> torch.Tensor:  # fmt: skip
            total = torch.matmul(_centred(a, zero_a, a.dim(), -2), _centred(b, zero_b, b.dim(), -1))
            factor = _along(scale_a, total.dim(), -2) * _along(scale_b, total.dim(), -1) / scale_y
            return _requantised(total, factor, zero_y, zero_y.dtype, is_read=is_read)

        return qlinear_matmul
