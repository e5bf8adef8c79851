"""Multiply-accumulates of one input sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxprune.axes import Poly
from onnxprune.cost.base import Shapes
from onnxprune.cost.formulas import node_macs
from onnxprune.cost.registry import COSTS

if TYPE_CHECKING:
    from onnxprune.graph import Model
    from onnxprune.groups import Analysis

__all__ = ["Macs"]


@COSTS.register("flops", "macs")
class Macs:
    """MACs per sample: what runs in one batch, divided by the leading size of the first input."""

    def polynomial(self, analysis: Analysis, model: Model) -> Poly:
        """Returns the MACs of any candidate; operators without an axis rule add a constant."""
        inference = analysis.inference
        shapes = inference.shapes
        frozen = sum(node_macs(node, shapes.first) for node in model.nodes if inference.rule(node) is None)
        return analysis.macs + Poly.constant(frozen / shapes.batch)

    def recount(self, model: Model, shapes: Shapes) -> float:
        """Returns the MACs per sample of a model as it stands; see `formulas`."""
        total = sum(node_macs(node, shapes) for node in model.nodes)
        inputs = model.inputs()
        first = shapes[inputs[0].name] if inputs else ()
        return total / (first[0] if first and first[0] else 1)
