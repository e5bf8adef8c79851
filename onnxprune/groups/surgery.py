"""Removing channels: slices every initializer and rewrites what nodes bake in.

The plan is the only input besides the analysed model, and the same plan gives the same graph.
"""

from __future__ import annotations

from onnxprune.core.plan import Plan
from onnxprune.graph import Model, keep_values
from onnxprune.groups.analysis import Analysis
from onnxprune.groups.masking import plan_masks, touched
from onnxprune.groups.surgeon import Surgeon

__all__ = ["prune"]


def prune(model: Model, analysis: Analysis, plan: Plan) -> Model:
    """Returns a copy of `model` without the channels that `plan` drops.

    Args:
        model: The analysed model.
        analysis: Its analysis.
        plan: What is kept.
    """
    masks = plan_masks(analysis, plan)
    slim = model.copy()
    for name in model.initializers():
        axes = touched(analysis, masks, name)
        if axes:
            slim.replace(name, keep_values(model.values(name), axes))
    edit = Surgeon(model, slim, analysis.inference, masks)
    for node in list(slim.nodes):
        rule = analysis.inference.rule(node)
        if rule is not None:
            rule.repair(node, edit)
    return slim
