"""Every option of a run, typed and validated.

A recipe comes from Python keywords, from a TOML file, from the command line, or from a TOML
file with the command line laid over it; all four end in the same checks and the same messages.
In a TOML file each option is a top-level key, named as on the command line with "_" or "-",
and paths are relative to the file:

    model = "resnet.onnx"
    flops = 0.4
    data = "train.npz"
    image_mean = 0.5
"""

from __future__ import annotations

from onnxprune.recipe.base import toml_options
from onnxprune.recipe.compare import Comparison
from onnxprune.recipe.compress import LEARNING, Recipe
from onnxprune.recipe.curve import Curve, curve_of
from onnxprune.recipe.planning import Planning, follow, planning_options
from onnxprune.recipe.retraining import Retraining
from onnxprune.recipe.training import DEFAULT_EPOCHS, TrainingFields

__all__ = [
    "DEFAULT_EPOCHS",
    "LEARNING",
    "Comparison",
    "Curve",
    "Planning",
    "Recipe",
    "Retraining",
    "TrainingFields",
    "curve_of",
    "follow",
    "planning_options",
    "toml_options",
]
