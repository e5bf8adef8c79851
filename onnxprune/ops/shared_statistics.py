"""BatchNormalization over the samples of several processes.

With n_r samples, mean μ_r and variance v_r in process r, all together have

    n = Σ n_r,   μ = Σ n_r μ_r / n,   σ² = Σ n_r (v_r + (μ_r − μ)²) / n

and with ŝ = 1 / √(σ² + ε), the gradient of y = γ (x − μ) ŝ + β is

    dx = γ ŝ (dy − Σ dy / n − (x − μ) ŝ² Σ dy (x − μ) / n)

where the sums run over the samples of all processes. (Ioffe, Szegedy, "Batch Normalization",
2015, section 3; PyTorch's own SyncBatchNorm works on GPUs only.)
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["normalize_together", "share_statistics", "statistics_are_shared"]


class _Sharing:
    """Whether statistics are shared at this moment."""

    active = False


@contextmanager
def share_statistics(shared: bool) -> Iterator[None]:
    """While the block lasts, BatchNormalization in training takes its statistics over all processes.

    Args:
        shared: False leaves everything as it is.
    """
    before, _Sharing.active = _Sharing.active, shared
    try:
        yield
    finally:
        _Sharing.active = before


def statistics_are_shared() -> bool:
    """Returns whether `share_statistics` is in force."""
    return _Sharing.active


def normalize_together(
    x: torch.Tensor,
    scale: torch.Tensor,
    shift: torch.Tensor,
    mean: torch.Tensor,
    var: torch.Tensor,
    rate: float,
    epsilon: float,
) -> torch.Tensor:
    """Returns BatchNormalization in training over the samples of all processes.

    Args:
        x: Float [batch, channels, …]; every process has a batch of its own, of any size.
        scale: γ, [channels].
        shift: β, [channels].
        mean: Running mean, updated in place.
        var: Running variance, updated in place with the unbiased estimate.
        rate: Share of the batch in the update.
        epsilon: ε.
    """
    y: torch.Tensor = _function().apply(x, scale, shift, mean, var, rate, epsilon)
    return y


@functools.cache
def _function() -> Any:
    """The autograd function; made on first use, since this package does not load torch."""
    import torch
    import torch.distributed as dist
    import torch.nn.functional as F

    class SharedBatchNorm(torch.autograd.Function):
        @staticmethod
        def forward(
            ctx: Any,
            x: torch.Tensor,
            scale: torch.Tensor,
            shift: torch.Tensor,
            mean: torch.Tensor,
            var: torch.Tensor,
            rate: float,
            epsilon: float,
        ) -> torch.Tensor:
            dims = [0, *range(2, x.dim())]
            own_var, own_mean = torch.var_mean(x.float(), dims, correction=0)
            count = own_mean.new_full((1,), x.numel() // x.shape[1])
            own = torch.cat((own_mean, own_var, count))
            parts = own.new_empty((dist.get_world_size(), len(own)))
            dist.all_gather(list(parts.unbind()), own)
            means, variances, counts = torch.split(parts, [x.shape[1], x.shape[1], 1], 1)
            total = counts.sum()
            now_mean = (means * counts).sum(0) / total
            now_var = ((variances + (means - now_mean).square()) * counts).sum(0) / total
            mean.lerp_(now_mean.to(mean.dtype), rate)
            var.lerp_((now_var * (total / (total - 1))).to(var.dtype), rate)
            ctx.save_for_backward(x, scale, now_mean, torch.rsqrt(now_var + epsilon), total)
            return F.batch_norm(x, now_mean, now_var, scale, shift, False, 0.0, epsilon)

        @staticmethod
        def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
            x, scale, mean, inverse, total = ctx.saved_tensors
            dims = [0, *range(2, x.dim())]
            shape = (1, -1, *(1,) * (x.dim() - 2))
            dy = gradients[0].float()
            centred = x.float() - mean.view(shape)
            own = torch.stack((dy.sum(dims), (dy * centred).sum(dims)))
            both = own.clone()
            dist.all_reduce(both)
            sum_dy, sum_dy_centred = both / total
            dx = dy - sum_dy.view(shape) - centred * (inverse.square() * sum_dy_centred).view(shape)
            dx = dx * (inverse * scale.float()).view(shape)
            return dx.to(x.dtype), (own[1] * inverse).to(scale.dtype), own[0].to(scale.dtype), None, None, None, None

    return SharedBatchNorm
