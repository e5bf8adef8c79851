"""Attention itself, in PyTorch: Y = softmax(cap(scale · Q Kᵀ) + bias) V, on [batch, heads, position, channel].

torch.nn.functional.scaled_dot_product_attention knows neither the cap nor the scores as outputs, and
gives NaN for a query that may see nothing, where the standard and onnxruntime give zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["attend", "merge_heads", "scaled_scores", "split_heads", "window_bias"]


def split_heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """Returns [batch, heads, position, channel] from [batch, position, heads · channel]."""
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads).transpose(1, 2)


def merge_heads(x: torch.Tensor) -> torch.Tensor:
    """Returns [batch, position, heads · channel] from [batch, heads, position, channel]."""
    return x.transpose(1, 2).flatten(2)


def window_bias(
    scores: torch.Tensor, offset: int | torch.Tensor, left: int, right: int, fill: float = -float("inf")
) -> torch.Tensor:
    """Returns `fill` where query i must not see key j, and 0 where it may.

    Query i stands at p = offset + i and sees keys from p − left to p + right; −1 is no bound.

    Args:
        scores: Any tensor [.., query, key]; gives sizes, type and device.
        offset: Position of the first query, or one for each sample: int64 [batch].
        left: How far back a query sees.
        right: How far ahead; 0 is causal.
        fill: What is added to the scores of keys that are not seen.
    """
    import torch

    rows = torch.arange(scores.shape[-2], device=scores.device)[:, None]
    columns = torch.arange(scores.shape[-1], device=scores.device)
    start = offset.reshape(-1, 1, 1, 1) if isinstance(offset, torch.Tensor) else offset
    ahead = columns - rows - start
    hidden = torch.zeros_like(ahead, dtype=torch.bool)
    hidden = hidden if right < 0 else hidden | (ahead > right)
    hidden = hidden if left < 0 else hidden | (-ahead > left)
    return torch.zeros(hidden.shape, dtype=scores.dtype, device=scores.device).masked_fill(hidden, fill)


def attend(
    scores: torch.Tensor, value: torch.Tensor, bias: torch.Tensor | None, sink: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns the weighted means, the biased scores and the weights.

    Args:
        scores: [batch, heads, query, key], scaled and capped.
        value: [batch, key-value heads, key, channel].
        bias: Added to the scores, or None. A query for which it is −∞ everywhere gets zeros.
        sink: One more score for each head, [heads], whose weight goes nowhere; or None.
    """
    import torch

    biased = scores if bias is None else scores + bias
    blind = None if bias is None else torch.isneginf(bias).all(-1, keepdim=True)
    logits = biased if blind is None else biased.masked_fill(blind, 0.0)
    if sink is not None:
        extra = sink.reshape(1, -1, 1, 1).to(logits.dtype).expand(*logits.shape[:-1], 1)
        logits = torch.cat([logits, extra], dim=-1)
    weights = torch.softmax(logits, -1)[..., : scores.shape[-1]]
    weights = weights if blind is None else weights.masked_fill(blind, 0.0)
    value = value.repeat_interleave(scores.shape[1] // value.shape[1], 1)
    return weights @ value, biased, weights


def scaled_scores(query: torch.Tensor, key: torch.Tensor, scale: float | None) -> torch.Tensor:
    """Returns scale · Q Kᵀ [batch, query heads, query, key]; a scale of None is 1/√d.

    Args:
        query: [batch, query heads, query, channel].
        key: [batch, key-value heads, key, channel]; each head serves as many query heads in a row.
        scale: The factor.
    """
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    key = key.repeat_interleave(query.shape[1] // key.shape[1], 1)
    return (query * factor) @ key.transpose(-1, -2)
