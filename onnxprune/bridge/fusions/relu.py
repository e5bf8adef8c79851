"""ReLU in place of its input, where nothing else reads that input and no gradient needs it.

The gradient of a ReLU needs its result alone, and those of Conv, BatchNormalization and Add do
not need theirs: so the result may take over the memory, as in nets written with `inplace=True`.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs
import torch

from onnxprune.bridge.fusions.linear import fuse_linear
from onnxprune.bridge.fusions.pattern import Fused, GraphView

__all__ = ["fuse_relu"]


def fuse_relu(node: gs.Node, view: GraphView) -> Fused | None:
    """Relu of a fresh tensor that a Conv, BatchNormalization or Add made for it."""
    if node.op != "Relu":
        return None
    source = view.producer(node.inputs[0], "Add", "BatchNormalization", "Conv")
    # a linear step gives a view of what it computes, and writing into a view costs copies
    if source is None or fuse_linear(source, view) is not None:
        return None
    name = str(node.inputs[0].name)
    return Fused((node,), (name,), torch.relu_, overwrites=(name,))
