"""LayerNorm taken apart, as exporters did before operator set 17: w · (x − μ) / √(σ² + ε) + b."""

from __future__ import annotations

from collections.abc import Callable

import onnx_graphsurgeon as gs
import torch
import torch.nn.functional as F

from onnxprune.bridge.fusions.normalise import deviation, root_mean_square
from onnxprune.bridge.fusions.pattern import Fused, GraphView

__all__ = ["fuse_layer_norm"]


def fuse_layer_norm(node: gs.Node, view: GraphView) -> Fused | None:
    """Add(Mul(Div(d, √(mean(d²) + ε)), w), b) with d = Sub(x, mean(x))."""
    if node.op != "Add":
        return None

    def shift_of(product: gs.Tensor, shift: gs.Tensor) -> Fused | None:
        mul, size = view.producer(product, "Mul"), view.shape(shift)
        if mul is None or size is None or len(size) != 1:
            return None
        found: Fused | None = view.either(mul, lambda normal, scale: scale_of(mul, normal, scale, shift))
        return found

    def scale_of(mul: gs.Node, normal: gs.Tensor, scale: gs.Tensor, shift: gs.Tensor) -> Fused | None:
        div = view.producer(normal, "Div")
        if div is None or view.shape(scale) != view.shape(shift):
            return None
        nodes = [node, mul, div]
        root = root_mean_square(div.inputs[1], view, nodes)
        if root is None or root[0].name != div.inputs[0].name:
            return None
        # the deviation is read by the square (twice where that is a Mul) and by the division
        square = nodes[-1]
        if view.uses(root[0]) != (3 if square.op == "Mul" else 2):
            return None
        x = deviation(root[0], view, nodes)
        if x is None:
            return None
        return Fused(tuple(nodes), (x.name, scale.name, shift.name), _layer_norm(root[1]))

    fused: Fused | None = view.either(node, shift_of)
    return fused


def _layer_norm(epsilon: float) -> Callable[..., torch.Tensor]:
    def layer_norm(x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        if scale.shape == x.shape[-1:]:
            return F.layer_norm(x, scale.shape, scale, shift, epsilon)
        return F.layer_norm(x, x.shape[-1:], None, None, epsilon) * scale + shift

    return layer_norm
