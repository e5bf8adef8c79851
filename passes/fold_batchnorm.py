"""fold_batchnorm: folds the lent normalisation back into the convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnxprune.bridge import fold_batchnorm
from onnxprune.core.stage import Bench, Pass
from onnxprune.graph import Model

__all__ = ["FoldBatchnorm"]


@dataclass(frozen=True)
class FoldBatchnorm(Pass):
    """Edits "slim"."""

    name = "fold_batchnorm"
    needs = ("slim",)
    edits = ("slim",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Folds."""
        return {"slim": fold_batchnorm(bench.take("slim", Model))}
