"""Patterns of nodes for which PyTorch has one kernel.

Exporters take attention, normalisation and linear layers apart. A fused step computes the same
to rounding, reads the same parameters under their names, and leaves the tensors between its
nodes out; whoever watches one of those gets the plain program.
"""

from __future__ import annotations

from onnxprune.bridge.fusions.attention import fuse_attention
from onnxprune.bridge.fusions.gelu import fuse_gelu
from onnxprune.bridge.fusions.hardswish import fuse_hardswish
from onnxprune.bridge.fusions.layer_norm import fuse_layer_norm
from onnxprune.bridge.fusions.linear import fuse_linear
from onnxprune.bridge.fusions.pattern import Fused, Fusion, GraphView
from onnxprune.bridge.fusions.relu import fuse_relu
from onnxprune.bridge.fusions.rms_norm import fuse_rms_norm
from onnxprune.bridge.fusions.silu import fuse_silu
from onnxprune.bridge.fusions.transposed_keys import fuse_transposed_keys
from onnxprune.graph import Model

__all__ = ["FUSIONS", "Fused", "find_fusions"]

FUSIONS: tuple[Fusion, ...] = (
    fuse_attention,
    fuse_transposed_keys,
    fuse_layer_norm,
    fuse_rms_norm,
    fuse_linear,
    fuse_gelu,
    fuse_silu,
    fuse_relu,
    fuse_hardswish,
)
"""The rules, in the order in which they are tried at a node."""


def find_fusions(model: Model) -> list[Fused]:
    """Returns the fused steps of a graph; no node is in two of them."""
    view = GraphView(model)
    taken: set[int] = set()
    found: list[Fused] = []
    for node in reversed(list(model.nodes)):
        if id(node) in taken or (node.domain or "") not in ("", "ai.onnx"):
            continue
        for rule in FUSIONS:
            fused = rule(node, view)
            if fused is not None and not any(id(member) in taken for member in fused.nodes):
                taken.update(id(member) for member in fused.nodes)
                found.append(fused)
                break
    return found
