"""export_model: writes the slim model, whole or not at all, and reads it back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnxprune.core.stage import Bench, Pass
from onnxprune.graph import Model, save_model

__all__ = ["ExportModel"]


@dataclass(frozen=True)
class ExportModel(Pass):
    """Gives "files": the paths written; none for a model that stays in memory.

    Attributes:
        path: Where the slim model goes, or None.
    """

    path: Path | None

    name = "export_model"
    needs = ("slim",)
    gives = ("files",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Writes.

        Raises:
            OutputError: when the place cannot be written.
        """
        slim = bench.take("slim", Model)
        return {"files": tuple(save_model(slim, self.path)) if self.path is not None else ()}
