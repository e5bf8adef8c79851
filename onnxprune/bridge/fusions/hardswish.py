"""Hard swish taken apart: x · hard_sigmoid(x), or x · clip(x + 3, 0, 6) / 6."""

from __future__ import annotations

import onnx_graphsurgeon as gs
import torch.nn.functional as F

from onnxprune.bridge.fusions.pattern import Fused, GraphView
from onnxprune.ops.base import attribute

__all__ = ["fuse_hardswish"]

_CLOSE = 1e-6


def fuse_hardswish(node: gs.Node, view: GraphView) -> Fused | None:
    """Mul(x, HardSigmoid(x)), Mul(x, Div(clipped, 6)) or Div(Mul(x, clipped), 6)."""
    if node.op == "Mul":
        for x, gate in (node.inputs, reversed(node.inputs)):
            nodes = _gate(gate, x, view)
            if nodes is not None:
                return Fused((node, *nodes), (x.name,), F.hardswish)
    if node.op == "Div" and view.number(node.inputs[1]) == 6:
        mul = view.producer(node.inputs[0], "Mul")
        for x, clipped in () if mul is None else (mul.inputs, reversed(mul.inputs)):
            nodes = _clipped(clipped, x, view)
            if nodes is not None:
                return Fused((node, mul, *nodes), (x.name,), F.hardswish)
    return None


def _gate(gate: gs.Tensor, x: gs.Tensor, view: GraphView) -> list[gs.Node] | None:
    """The nodes of a tensor hard_sigmoid(x) with slope 1/6."""
    hard = view.producer(gate, "HardSigmoid")
    if hard is not None:
        slope, offset = attribute(hard, "alpha", 0.2), attribute(hard, "beta", 0.5)
        same = hard.inputs[0].name == x.name and abs(slope - 1 / 6) < _CLOSE and offset == 0.5
        return [hard] if same else None
    div = view.producer(gate, "Div")
    if div is None or view.number(div.inputs[1]) != 6:
        return None
    nodes = _clipped(div.inputs[0], x, view)
    return None if nodes is None else [div, *nodes]


def _clipped(tensor: gs.Tensor, x: gs.Tensor, view: GraphView) -> list[gs.Node] | None:
    """The nodes of a tensor clip(x + 3, 0, 6)."""
    clip = view.producer(tensor, "Clip")
    add = None if clip is None else view.producer(clip.inputs[0], "Add")
    if clip is None or add is None:
        return None
    bounds = [view.number(t) for t in clip.inputs[1:]] or [attribute(clip, "min"), attribute(clip, "max")]
    plus = [view.number(b) for a, b in (add.inputs, reversed(add.inputs)) if a.name == x.name]
    return [clip, add] if bounds == [0, 6] and plus == [3] else None
