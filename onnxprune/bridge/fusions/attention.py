"""Scaled dot-product attention, as exporters take it apart: softmax(c q kᵀ + mask) v.

The scale c may stand on q, on kᵀ (PyTorch's exporter puts √c on both) or on their product, and
rows that the mask leaves empty may be set to zero behind the softmax. The fused kernel gives
zero there in any case, where a plain softmax would give NaN. It never holds the weights of all
pairs; its gradient cannot be differentiated again.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import onnx_graphsurgeon as gs
import torch
import torch.nn.functional as F

from onnxprune.bridge.fusions.pattern import Fused, GraphView
from onnxprune.ops.base import attribute

__all__ = ["fuse_attention"]


def fuse_attention(node: gs.Node, view: GraphView) -> Fused | None:
    """MatMul(Softmax(Add(MatMul(q, kᵀ), mask)), v), with scales and the guard where they are."""
    if node.op != "MatMul":
        return None
    behind = [node]
    softmax = _softmax(node.inputs[0], view, behind)
    if softmax is None or not _over_last(softmax, view):
        return None
    add = view.producer(softmax.inputs[0], "Add")
    if add is None:
        return _with_scores(behind, softmax.inputs[0], "", view)
    for scores, mask in (add.inputs, reversed(add.inputs)):
        found = _with_scores([*behind, add], scores, str(mask.name), view)
        if found is not None:
            return found
    return None


def _with_scores(behind: list[gs.Node], scores: gs.Tensor, mask: str, view: GraphView) -> Fused | None:
    """The whole pattern, where `scores` is c q kᵀ."""
    nodes, values = list(behind), behind[0].inputs[1]
    scores, scale = _scaled(scores, view, nodes)
    product = view.producer(scores, "MatMul")
    if product is None:
        return None
    nodes.append(product)
    (query, on_query), (keys, on_keys) = (_scaled(t, view, nodes) for t in product.inputs)
    total = scale * on_query * on_keys
    constant = any(view.shape(t) is not None for t in (query, keys, values))
    if constant or not (math.isfinite(total) and total > 0):
        return None
    names = (str(query.name), str(keys.name), str(values.name))
    return Fused(
        tuple(nodes), (*names, mask) if mask else names, _attention(total, guarded="Where" in (n.op for n in behind))
    )


def _over_last(softmax: gs.Node, view: GraphView) -> bool:
    axis, shape = attribute(softmax, "axis", -1 if view.opset() >= 13 else 1), softmax.inputs[0].shape
    return bool(axis == -1 or (shape is not None and axis == len(shape) - 1))


def _softmax(weights: gs.Tensor, view: GraphView, nodes: list[gs.Node]) -> gs.Node | None:
    """The Softmax behind `weights`, straight or through Where(IsNaN(p), 0, p)."""
    where = view.producer(weights, "Where")
    if where is None:
        softmax = view.producer(weights, "Softmax")
        nodes += [] if softmax is None else [softmax]
        return softmax
    test, found = view.producer(where.inputs[0], "IsNaN"), where.inputs[2]
    guarded = test is not None and test.inputs[0].name == found.name and view.number(where.inputs[1]) == 0
    if not guarded or view.uses(found) != 2 or not found.inputs or found.inputs[0].op != "Softmax":
        return None
    nodes += [where, test, found.inputs[0]]
    return found.inputs[0]


def _scaled(tensor: gs.Tensor, view: GraphView, nodes: list[gs.Node]) -> tuple[gs.Tensor, float]:
    """The tensor under a Mul or Div by a constant, and the factor."""
    node = view.producer(tensor, "Mul", "Div")
    if node is None:
        return tensor, 1.0
    numbers = [view.number(t) for t in node.inputs]
    slot = 0 if numbers[0] is not None else 1
    factor = numbers[slot]
    if factor is None or (node.op == "Div" and (slot == 0 or factor == 0)):
        return tensor, 1.0
    nodes.append(node)
    return node.inputs[1 - slot], 1 / factor if node.op == "Div" else factor


def _attention(scale: float, *, guarded: bool) -> Callable[..., torch.Tensor]:
    def attention(
        query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        if _suits(query, keys, values, mask):
            return F.scaled_dot_product_attention(query, keys.transpose(-2, -1), values, mask, scale=scale)
        scores = query @ keys * scale
        weights = torch.softmax(scores if mask is None else scores + mask, -1)
        return (torch.where(torch.isnan(weights), 0.0, weights) if guarded else weights) @ values

    return attention


def _suits(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None) -> bool:
    """Whether the kernel broadcasts as the nodes do: a mask of two axes or more may be stretched, nothing else."""
    if not query.dim() == keys.dim() == values.dim() == 4 or not query.shape[:2] == keys.shape[:2] == values.shape[:2]:
        return False
    scores = (*query.shape[:3], keys.shape[3])
    if mask is None:
        return True
    sizes = zip(reversed(mask.shape), reversed(scores), strict=False)
    return 2 <= mask.dim() <= 4 and all(m in (1, s) for m, s in sizes)
