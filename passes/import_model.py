"""import_model: reads the file, refuses what cannot be pruned meaningfully, keeps the original.

In the working copy, calls of model-local functions are replaced by what the functions do; the
certificate holds it against the original, which still calls them.
"""

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
        functions = original.header.functions
        if not functions:
            return {"original": original, "model": original.copy()}
        model = load_model(self.source, inline=True)
        names = ", ".join(dict.fromkeys(f.name for f in functions if f not in model.header.functions))
        if names:
            bench.note(f"Calls of local functions ({names}) were replaced by what they do, so that it can be pruned.")
        return {"original": original, "model": model}
