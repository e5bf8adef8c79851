"""Bytes of weights: elements of all weights, times the width of each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs
from onnx import helper

from onnxprune.axes import Poly
from onnxprune.cost.base import Shapes
from onnxprune.cost.registry import COSTS
from onnxprune.graph import is_weight
from onnxprune.graph.values import packed_bytes

if TYPE_CHECKING:
    from onnxprune.graph import Model
    from onnxprune.groups import Analysis

__all__ = ["Size", "element_bytes"]


@COSTS.register("size")
class Size:
    """Bytes that the weights take in the file."""

    def polynomial(self, analysis: Analysis, model: Model) -> Poly:
        """Returns the bytes of weights of any candidate."""
        initializers = model.initializers()
        counts = analysis.initializer_params
        return Poly.sum([poly * element_bytes(initializers[name]) for name, poly in counts.items()])

    def recount(self, model: Model, shapes: Shapes) -> float:
        """Returns the bytes of weights of a model as it stands."""
        weights = [c for c in model.initializers().values() if is_weight(c)]
        return float(sum(math.prod(c.shape) * element_bytes(c) for c in weights))


def element_bytes(constant: gs.Constant) -> float:
    """Returns the bytes of one element of an initializer; below 1 for kinds that ONNX packs."""
    return packed_bytes(helper.np_dtype_to_tensor_dtype(constant.dtype), (8,)) / 8
