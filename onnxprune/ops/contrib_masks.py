"""The masks that onnxruntime's own attention operators take, as numbers added to the scores.

One number for each sample is how many keys it has. [batch, key] and [batch, query, key] tell 0 for a key
that must not be seen; it is not forbidden, its score is lowered by `mask_filter_value`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.core.errors import ModelError
from onnxprune.ops.attention_torch import window_bias
from onnxprune.ops.base import attribute, describe

if TYPE_CHECKING:
    import torch

__all__ = ["added_bias", "refuse_twin"]

_MASK_FILTER = -10000.0


def refuse_twin(node: gs.Node, what: str) -> ModelError:
    """Returns the error that says why a node has no PyTorch counterpart."""
    return ModelError(
        f"{describe(node)} {what}, which has no counterpart in PyTorch here, so the model cannot be retrained. "
        "Compress without --data, or start from the model before onnxruntime optimised it."
    )


def added_bias(
    node: gs.Node, scores: torch.Tensor, past: int, mask: torch.Tensor | None, bias: torch.Tensor | None
) -> torch.Tensor | None:
    """Returns all that is added to the scores, or None where it is nothing.

    Args:
        node: The attention node, for its attributes.
        scores: [batch, heads, query, key].
        past: Number of keys before the first query.
        mask: What the node takes as mask, in one of its forms.
        bias: Added as it is.

    Raises:
        ModelError: for a form of mask that has no counterpart.
    """
    import torch

    terms = []
    if mask is not None:
        hidden = _hidden(node, mask, scores)
        low = float(attribute(node, "mask_filter_value", _MASK_FILTER))
        terms.append(torch.zeros_like(hidden, dtype=scores.dtype).masked_fill(hidden, low))
    if attribute(node, "unidirectional", 0):
        lowest = torch.finfo(scores.dtype).min
        terms.append(window_bias(scores, past, -1, 0, lowest if mask is not None else -torch.inf))
    if bias is not None:
        terms.append(bias)
    return sum(terms[1:], terms[0]) if terms else None


def _hidden(node: gs.Node, mask: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Returns where keys must not be seen: bool, broadcast to the scores."""
    import torch

    batch, _, _, total = scores.shape
    if mask.dim() == 1 and len(mask) in (batch, 2 * batch):
        columns = torch.arange(total, device=scores.device)
        hidden = columns >= mask[:batch, None]
        if len(mask) == 2 * batch:
            hidden = hidden | (columns < mask[batch:, None])
        return hidden[:, None, None, :]
    if mask.dim() == 2:
        return (mask <= 0)[:, None, None, :]
    if mask.dim() == 3:
        return (mask <= 0)[:, None, :, :]
    raise refuse_twin(node, f"has a mask of shape {list(mask.shape)}")
