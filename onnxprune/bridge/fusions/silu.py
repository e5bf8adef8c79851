"""SiLU: x · sigmoid(x). The fused kernel keeps x alone for the gradient."""

from __future__ import annotations

import onnx_graphsurgeon as gs
import torch.nn.functional as F

from onnxprune.bridge.fusions.pattern import Fused, GraphView

__all__ = ["fuse_silu"]


def fuse_silu(node: gs.Node, view: GraphView) -> Fused | None:
    """Mul(x, Sigmoid(x)), in either order."""
    if node.op != "Mul":
        return None

    def choose(x: gs.Tensor, gate: gs.Tensor) -> Fused | None:
        sigmoid = view.producer(gate, "Sigmoid")
        if sigmoid is None or sigmoid.inputs[0].name != x.name:
            return None
        return Fused((node, sigmoid), (x.name,), F.silu)

    found: Fused | None = view.either(node, choose)
    return found
