"""What the two normalisations over the last axis share: their statistics, node by node."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from onnxprune.bridge.fusions.pattern import GraphView
from onnxprune.ops.base import attribute

__all__ = ["deviation", "mean_over_last", "root_mean_square"]


def mean_over_last(node: gs.Node | None, view: GraphView) -> bool:
    """Returns whether a ReduceMean goes over the last axis only and keeps it."""
    if node is None or not attribute(node, "keepdims", 1):
        return False
    return view.integers(node, "axes", 1) == [-1]


def root_mean_square(tensor: gs.Tensor, view: GraphView, nodes: list[gs.Node]) -> tuple[gs.Tensor, float] | None:
    """Returns x and ε where `tensor` is √(mean(x²) + ε) over the last axis; adds the nodes to `nodes`."""
    root = view.producer(tensor, "Sqrt")
    add = None if root is None else view.producer(root.inputs[0], "Add")
    if root is None or add is None:
        return None
    found = [(a, view.number(b)) for a, b in (add.inputs, reversed(add.inputs))]
    mean_of, epsilon = next(((t, e) for t, e in found if e is not None), (None, None))
    mean = None if mean_of is None else view.producer(mean_of, "ReduceMean")
    if mean is None or epsilon is None or not mean_over_last(mean, view):
        return None
    square = view.producer(mean.inputs[0], "Pow", "Mul")
    if square is None:
        return None
    same = square.inputs[0].name == square.inputs[1].name
    if not (same if square.op == "Mul" else view.number(square.inputs[1]) == 2):
        return None
    nodes += [root, add, mean, square]
    return square.inputs[0], epsilon


def deviation(tensor: gs.Tensor, view: GraphView, nodes: list[gs.Node]) -> gs.Tensor | None:
    """Returns x where `tensor` is x − mean(x) over the last axis and read twice; adds the nodes to `nodes`."""
    sub = tensor.inputs[0] if tensor.inputs else None
    if sub is None or sub.op != "Sub":
        return None
    mean = view.producer(sub.inputs[1], "ReduceMean")
    if mean is None or not mean_over_last(mean, view) or mean.inputs[0].name != sub.inputs[0].name:
        return None
    nodes += [sub, mean]
    return sub.inputs[0]
