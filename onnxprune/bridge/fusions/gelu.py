"""GELU by the error function: x · ½ · (1 + erf(x / √2)), in every order of the three factors."""

from __future__ import annotations

import math

import onnx_graphsurgeon as gs
import torch.nn.functional as F

from onnxprune.bridge.fusions.pattern import Fused, GraphView

__all__ = ["fuse_gelu"]

_CLOSE = 1e-4


def fuse_gelu(node: gs.Node, view: GraphView) -> Fused | None:
    """Mul of x, a half and Add(Erf(Div(x, √2)), 1)."""
    if node.op != "Mul":
        return None
    # three factors in two products: (a · b) · c
    for product, last in (node.inputs, reversed(node.inputs)):
        inner = view.producer(product, "Mul")
        if inner is None:
            continue
        factors = [last, *inner.inputs]
        half = next((t for t in factors if view.number(t) == 0.5), None)
        rest = [t for t in factors if t is not half]
        for x, one_plus in (rest, rest[::-1]) if len(rest) == 2 else ():
            nodes = [node, inner]
            found = _argument(one_plus, view, nodes)
            if found is not None and found.name == x.name:
                return Fused(tuple(nodes), (x.name,), F.gelu)
    return None


def _argument(tensor: gs.Tensor, view: GraphView, nodes: list[gs.Node]) -> gs.Tensor | None:
    """The x of a tensor 1 + erf(x / √2)."""
    add = view.producer(tensor, "Add")
    if add is None:
        return None
    error = next((t for t, one in (add.inputs, reversed(add.inputs)) if view.number(one) == 1), None)
    erf = None if error is None else view.producer(error, "Erf")
    scaled = None if erf is None else view.producer(erf.inputs[0], "Div", "Mul")
    if erf is None or scaled is None:
        return None
    wanted = math.sqrt(2) if scaled.op == "Div" else math.sqrt(0.5)
    for x, factor in (scaled.inputs, reversed(scaled.inputs))[: 2 if scaled.op == "Mul" else 1]:
        number = view.number(factor)
        if number is not None and abs(number - wanted) < _CLOSE:
            nodes += [add, erf, scaled]
            return x
    return None
