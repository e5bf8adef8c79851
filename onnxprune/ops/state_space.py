"""Layers that carry a state along a sequence: CausalConvWithState and LinearAttention.

LinearAttention keeps, per key-value head, a matrix S [d_k, d_v]. At each step, by `update_rule`:

    S ← exp(g) S                                    gated, gated_delta (decay g)
    S ← S + k ⊗ v                                   linear, gated
    S ← S + β k ⊗ (v − Sᵀ k)                        delta, gated_delta
    o = scale · Sᵀ q
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.ops.attention_torch import merge_heads, split_heads
from onnxprune.ops.base import TwinContext, attribute
from onnxprune.ops.registry import register_twin
from onnxprune.ops.twin import Twin

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["CausalConvWithState", "LinearAttention"]


@register_twin
class CausalConvWithState(Twin):
    """A depthwise convolution that looks back; its state is the end of what it has seen."""

    names = ("CausalConvWithState",)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch
        import torch.nn.functional as F

        activation = str(attribute(node, "activation", "none"))

        def causal_conv(
            x: torch.Tensor,
            weight: torch.Tensor,
            bias: torch.Tensor | None = None,
            past: torch.Tensor | None = None,
        ) -> tuple[torch.Tensor, torch.Tensor]:
            back = weight.shape[2] - 1
            seen = F.pad(x, (back, 0)) if past is None else torch.cat([past, x], 2)
            y = F.conv1d(seen, weight, bias, groups=x.shape[1])
            return (y if activation == "none" else F.silu(y)), seen.narrow(2, seen.shape[2] - back, back)

        return causal_conv


@register_twin
class LinearAttention(Twin):
    """The recurrence, a step at a time."""

    names = ("LinearAttention",)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        query_heads, heads = int(node.attrs["q_num_heads"]), int(node.attrs["kv_num_heads"])
        factor = float(attribute(node, "scale", 0.0))

        def linear_attention(
            query: torch.Tensor,
            key: torch.Tensor,
            value: torch.Tensor,
            past: torch.Tensor | None = None,
            decay: torch.Tensor | None = None,
            rate: torch.Tensor | None = None,
        ) -> tuple[torch.Tensor, torch.Tensor]:
            wide = torch.float64 if query.dtype == torch.float64 else torch.float32
            q, k, v = (split_heads(x.to(wide), n) for x, n in ((query, query_heads), (key, heads), (value, heads)))
            kept = None if decay is None else split_heads(decay.to(wide), heads).exp()
            beta = None if rate is None else split_heads(rate.to(wide), rate.shape[-1])
            start = q.new_zeros(q.shape[0], heads, k.shape[-1], v.shape[-1]) if past is None else past.to(wide)
            y, state = _recurrence(q * (factor or k.shape[-1] ** -0.5), k, v, start, kept, beta)
            return merge_heads(y).to(query.dtype), state.to(query.dtype if past is None else past.dtype)

        return linear_attention


def _recurrence(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    state: torch.Tensor,
    kept: torch.Tensor | None,
    beta: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the outputs [batch, query heads, steps, d_v] and the last state [batch, heads, d_k, d_v]."""
    import torch

    outputs = []
    for t in range(q.shape[2]):
        at_key, entry = k[:, :, t, :, None], v[:, :, t, None, :]
        if kept is not None:
            state = state * kept[:, :, t, :, None]
        if beta is not None:
            entry = beta[:, :, t, :, None] * (entry - (state * at_key).sum(2, keepdim=True))
        state = state + at_key * entry
        read = state.repeat_interleave(q.shape[1] // state.shape[1], 1)
        outputs.append((q[:, :, t, :, None] * read).sum(2))
    return torch.stack(outputs, 2), state
