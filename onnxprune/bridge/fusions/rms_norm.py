"""RMSNorm taken apart: w · x / √(mean(x²) + ε) over the last axis."""

from __future__ import annotations

from collections.abc import Callable

import onnx_graphsurgeon as gs
import torch
import torch.nn.functional as F

from onnxprune.bridge.fusions.normalise import root_mean_square
from onnxprune.bridge.fusions.pattern import Fused, GraphView

__all__ = ["fuse_rms_norm"]


def fuse_rms_norm(node: gs.Node, view: GraphView) -> Fused | None:
    """Mul(w, Mul(x, Reciprocal(root))) or Mul(w, Div(x, root)), in any order."""
    if node.op != "Mul":
        return None

    def choose(scale: gs.Tensor, normal: gs.Tensor) -> Fused | None:
        shape, inner = view.shape(scale), view.producer(normal, "Mul", "Div")
        if shape is None or len(shape) != 1 or inner is None:
            return None
        for x, root in (inner.inputs, reversed(inner.inputs))[: 2 if inner.op == "Mul" else 1]:
            nodes = [node, inner]
            if inner.op == "Mul":
                inverse = view.producer(root, "Reciprocal")
                if inverse is None:
                    continue
                nodes.append(inverse)
                root = inverse.inputs[0]
            found = root_mean_square(root, view, nodes)
            if found is not None and found[0].name == x.name:
                return Fused(tuple(nodes), (x.name, scale.name), _rms_norm(found[1]))
        return None

    fused: Fused | None = view.either(node, choose)
    return fused


def _rms_norm(epsilon: float) -> Callable[..., torch.Tensor]:
    def rms_norm(x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        if scale.shape == x.shape[-1:]:
            return F.rms_norm(x, scale.shape, scale, epsilon)
        return F.rms_norm(x, x.shape[-1:], None, epsilon) * scale

    return rms_norm
