"""What the public calls take; for type checkers alone, so that nothing heavy is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from typing import Any

    import onnx
    import torch
    from numpy.typing import NDArray

    from onnxprune.core.plan import Plan

    ModelLike = str | os.PathLike[str] | onnx.ModelProto
    ModelOrModule = ModelLike | torch.nn.Module
    InputsLike = torch.Tensor | NDArray[Any] | Sequence[torch.Tensor | NDArray[Any]] | Mapping[str, Any]
    BudgetLike = str | float | Sequence[str | float]
    PlanLike = str | os.PathLike[str] | Plan
    DataLike = str | os.PathLike[str] | Mapping[str, NDArray[Any]]

__all__ = ["BudgetLike", "DataLike", "InputsLike", "ModelLike", "ModelOrModule", "PlanLike"]
