"""import_model: reads the file, refuses what cannot be pruned meaningfully, keeps the original."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from onnxprune.core.stage import Bench, Pass
from onnxprune.graph import check_finite, load_model

__all__ = ["ImportModel"]


@dataclass(frozen=True)
class ImportModel(Pass):
    """Gives "original" (never edited) and "model" (the working copy).

    Attributes:
        source: A path or a model in memory.
    """

    source: Path | onnx.ModelProto

    name = "import_model"
    gives = ("original", "model")

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Loads the model.

        Raises:
            ModelError: when it cannot be read or its weights hold NaN or infinity.
        """
        original = load_model(self.source)
        check_finite(original)
        return {"original": original, "model": original.copy()}
