"""Which nodes of a graph could compute with tiles of their weights, and why others could not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from onnxprune.core.tile_site import TileSite
from onnxprune.graph.values import is_float
from onnxprune.groups.analysis import Analysis, node_label

__all__ = ["TileSites", "find_tile_sites"]

_MOST_SPATIAL = 3


@dataclass(frozen=True)
class TileSites:
    """What was found.

    Attributes:
        sites: In graph order.
        refused: Node label → why its weight stays dense, for nodes that have MACs.
    """

    sites: tuple[TileSite, ...]
    refused: Mapping[str, str]


def find_tile_sites(analysis: Analysis) -> TileSites:
    """Returns the matrix products and convolutions whose weight is a constant of their own.

    Args:
        analysis: Of the graph.
    """
    model = analysis.inference.model
    readers = Counter(tensor.name for node in model.nodes for tensor in node.inputs)
    readers.update(tensor.name for tensor in model.graph.outputs)
    weights = model.initializers()
    sizes = analysis.sizes
    sites, refused = [], {}
    for node in model.nodes:
        label = node_label(node)
        macs = float(analysis.node_macs[label](sizes)) if label in analysis.node_macs else 0.0
        if not macs:
            continue
        reason = _refusal(node, weights, readers)
        if reason:
            refused[label] = reason
            continue
        weight = node.inputs[1]
        shape = [int(n) for n in weights[weight.name].shape]
        input_axis, output_axis = _axes(node)
        sites.append(
            TileSite(
                label,
                weight.name,
                "Conv" if node.op == "Conv" else "MatMul",
                input_axis,
                output_axis,
                shape[input_axis],
                shape[output_axis],
                int(np.prod(shape[2:])),
                macs,
                len(shape) - 2,
            )
        )
    return TileSites(tuple(sites), refused)


def _axes(node: gs.Node) -> tuple[int, int]:
    """Returns the axes of the weight that are contracted and written."""
    if node.op == "Conv" or (node.op == "Gemm" and node.attrs.get("transB", 0)):
        return 1, 0
    return 0, 1


def _refusal(node: gs.Node, weights: Mapping[str, gs.Constant], readers: Mapping[str, int]) -> str:
    """Returns why a node stays dense, or ""."""
    if node.domain or node.op not in ("Conv", "Gemm", "MatMul"):
        return f"there is no tiled form of {node.op}"
    weight = weights.get(node.inputs[1].name)
    if weight is None:
        return "its second operand is computed"
    if not is_float(np.dtype(weight.dtype)):
        return f"its weight holds {np.dtype(weight.dtype).name}"
    if readers[weight.name] > 1:
        return f"its weight '{weight.name}' is read in several places"
    spatial = len(weight.shape) - 2
    if not (1 <= spatial <= _MOST_SPATIAL if node.op == "Conv" else spatial == 0):
        return f"its weight has {len(weight.shape)} axes"
    if node.op == "Conv" and int(node.attrs.get("group", 1)) != 1:
        return f"it is a convolution of {node.attrs['group']} groups"
    if node.op == "Conv" and str(node.attrs.get("auto_pad", "NOTSET")).startswith("SAME") and _strided(node):
        return "its padding depends on the size of its input"
    if node.op == "Gemm" and (
        node.attrs.get("transA", 0) or node.attrs.get("alpha", 1.0) != 1.0 or node.attrs.get("beta", 1.0) != 1.0
    ):
        return "it scales or transposes its operands"
    return ""


def _strided(node: gs.Node) -> bool:
    return any(int(step) != 1 for step in node.attrs.get("strides", ()))
