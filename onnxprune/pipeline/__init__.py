"""From a recipe to passes in order, and the public calls."""

from __future__ import annotations

from onnxprune.pipeline.benching import bench
from onnxprune.pipeline.compressing import compress
from onnxprune.pipeline.curve import trace
from onnxprune.pipeline.exporting import exported
from onnxprune.pipeline.importing import Imported, import_module
from onnxprune.pipeline.inspecting import inspect
from onnxprune.pipeline.planning import plan
from onnxprune.pipeline.retraining import retrain
from onnxprune.pipeline.showing import show
from onnxprune.pipeline.validating import validate
from onnxprune.pipeline.words import command_line, recipe_options

__all__ = [
    "Imported",
    "bench",
    "command_line",
    "compress",
    "exported",
    "import_module",
    "inspect",
    "plan",
    "recipe_options",
    "retrain",
    "show",
    "trace",
    "validate",
]
