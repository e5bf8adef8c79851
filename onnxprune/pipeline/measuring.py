"""The pass that measures what a run made of a model."""

from __future__ import annotations

from onnxprune.passes.validate_model import ValidateModel
from onnxprune.recipe import TrainingFields

__all__ = ["measuring_pass"]


def measuring_pass(recipe: TrainingFields) -> ValidateModel:
    """Returns the pass that compares both models: outputs, accuracy, latency."""
    return ValidateModel(
        recipe.provider,
        recipe.threads,
        recipe.seed,
        recipe.metric or "",
        recipe.batches,
        recipe.profile,
        recipe.dense_forms,
    )
