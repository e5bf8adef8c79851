"""MatMul by a constant matrix and Add of a constant vector: y = x W + b in one kernel.

W stays [inputs, outputs] as in the file, and so does its gradient.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs
import torch

from onnxprune.bridge.fusions.pattern import Fused, GraphView

__all__ = ["fuse_linear"]


def fuse_linear(node: gs.Node, view: GraphView) -> Fused | None:
    """Add(MatMul(x, W), b), in either order of the Add."""
    if node.op != "Add":
        return None

    def choose(product: gs.Tensor, bias: gs.Tensor) -> Fused | None:
        matmul, size = view.producer(product, "MatMul"), view.shape(bias)
        if matmul is None or size is None or len(size) != 1:
            return None
        shape = view.shape(matmul.inputs[1])
        if shape is None or len(shape) != 2 or shape[1] != size[0]:
            return None
        names = (matmul.inputs[0].name, matmul.inputs[1].name, bias.name)
        return Fused((node, matmul), names, _linear)

    found: Fused | None = view.either(node, choose)
    return found


def _linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    if x.dim() < 2:
        return x @ weight + bias
    if x.dim() == 2:
        return torch.addmm(bias, x, weight)
    flat = x.reshape(-1, weight.shape[0])
    return torch.addmm(bias, flat, weight).reshape(*x.shape[:-1], weight.shape[1])
