"""Losses inside the graph: NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss.

ℓ_n = −w[t_n] · p[n, t_n] with log-probabilities p; ℓ_n = 0 where t_n is `ignore_index`. The mean
divides by Σ w[t_n] over the entries that count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.ops.base import TwinContext, attribute
from onnxprune.ops.registry import register_twin
from onnxprune.ops.twin import Twin

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["NegativeLogLikelihood"]

_NEVER = -(2**40)
"""A class that no target names."""


@register_twin
class NegativeLogLikelihood(Twin):
    """Both losses; the second takes the logarithm of the softmax first, and may give it out."""

    names = ("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss")

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch.nn.functional as F

        reduction, from_logits = str(attribute(node, "reduction", "mean")), node.op == "SoftmaxCrossEntropyLoss"
        ignored, count = int(attribute(node, "ignore_index", _NEVER)), len(node.outputs)

        def loss(
            scores: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None
        ) -> torch.Tensor | tuple[torch.Tensor, ...]:
            logs = F.log_softmax(scores, 1) if from_logits else scores
            value = F.nll_loss(logs, target.long(), weight, ignore_index=ignored, reduction=reduction)
            return (value, logs) if count > 1 else value

        return loss
