"""The masked original: the model with the plan's dropped channels zeroed in place.

Every slice of every initializer that a dropped channel touches is zeroed, consumers included.
Masking producers alone would be wrong: a bias, a normalisation shift or sigmoid(0) would still
reach the consumers. Operators that take statistics over masked channels, where that was allowed,
take them over the kept ones (`onnxprune.groups.narrow`).
"""

from __future__ import annotations

from collections.abc import Mapping

from onnxprune.axes import Atom, keep_mask, leaves
from onnxprune.axes.keep import BoolArray
from onnxprune.core.plan import Plan
from onnxprune.graph import Model, overwrite_values
from onnxprune.graph.values import is_float
from onnxprune.groups.analysis import Analysis
from onnxprune.groups.narrow import narrow_statistics

__all__ = ["emptied_model", "masked_model", "plan_masks", "touched"]


def plan_masks(analysis: Analysis, plan: Plan) -> dict[Atom, BoolArray]:
    """Returns atom → keep mask for every group that the plan shortens."""
    return {analysis.atoms[name]: plan.mask(name) for name, kept in plan.kept.items() if len(kept) < plan.sizes[name]}


def touched(analysis: Analysis, masks: Mapping[Atom, BoolArray], name: str) -> list[tuple[int, BoolArray]]:
    """Returns (axis, keep mask) for each axis of a tensor that loses channels."""
    found = []
    for position, axis in enumerate(analysis.inference.axes(name)):
        if any(atom in masks for atom in leaves(axis)):
            found.append((position, keep_mask(axis, masks)))
    return found


def masked_model(model: Model, analysis: Analysis, plan: Plan) -> Model:
    """Returns a copy of `model` with dropped channels masked.

    Args:
        model: The analysed model.
        analysis: Its analysis.
        plan: What is kept.
    """
    masked = emptied_model(model, analysis, plan)
    narrow_statistics(model, masked, analysis.inference, plan_masks(analysis, plan))
    return masked


def emptied_model(model: Model, analysis: Analysis, plan: Plan) -> Model:
    """Returns a copy of `model` with dropped channels zeroed and all nodes as they are.

    Args:
        model: The analysed model.
        analysis: Its analysis.
        plan: What is kept.
    """
    masks = plan_masks(analysis, plan)
    emptied = model.copy()
    for name, constant in model.initializers().items():
        fill = analysis.fills.get(name, 0 if is_float(constant.dtype) else None)
        axes = touched(analysis, masks, name) if fill is not None else []
        if fill is not None and axes:
            emptied.replace(name, overwrite_values(model.values(name), axes, fill))
    return emptied
