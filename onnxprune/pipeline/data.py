"""The pass that opens what a recipe names as data."""

from __future__ import annotations

from onnxprune.passes.open_data import OpenData
from onnxprune.recipe import TrainingFields

__all__ = ["data_pass"]


def data_pass(recipe: TrainingFields) -> OpenData:
    """Returns the pass that opens training, validation and evaluation data."""
    return OpenData(
        data=recipe.data,
        eval_data=recipe.eval_data,
        val_data=recipe.val_data,
        val_share=recipe.val_share,
        image_mean=recipe.image_mean,
        image_std=recipe.image_std,
        image_size=recipe.image_size,
        skip_corrupt=recipe.skip_corrupt,
        labels=recipe.label_kind,
        seed=recipe.seed,
    )
