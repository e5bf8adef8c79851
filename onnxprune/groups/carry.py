"""A slim model's weights back in the places they were cut from.

When pruning and retraining take turns, each phase chooses among the channels that are left, with
the weights that training gave them. All phases speak of the original's channels: the carried
model has the original's shapes, the slim model's values in every slice that was kept, and what
masking leaves (zero, mostly) in the others. Where removal is exact, it computes what the slim
model computes.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxprune.core.errors import InternalError
from onnxprune.core.plan import Plan
from onnxprune.graph import Model
from onnxprune.groups.analysis import Analysis
from onnxprune.groups.masking import emptied_model, plan_masks, touched

__all__ = ["carried_model"]


def carried_model(model: Model, analysis: Analysis, plan: Plan, slim: Model, trained: Collection[str]) -> Model:
    """Returns a copy of `model` with values of `slim` in the slices that `plan` keeps.

    Args:
        model: The analysed model.
        analysis: Its analysis.
        plan: What `slim` kept of it.
        slim: The pruned model.
        trained: Initializers of `slim` to carry: weights and running statistics.

    Raises:
        InternalError: when one of them has no place in `model`.
    """
    masks = plan_masks(analysis, plan)
    carried = emptied_model(model, analysis, plan)
    places = model.initializers()
    for name in trained:
        if name not in places:
            raise InternalError(f"initializer {name!r} of the slim model has no place in the analysed one")
        keeps = dict(touched(analysis, masks, name))
        value = np.array(carried.read(name))
        chosen = tuple(keeps[i].nonzero()[0] if i in keeps else np.arange(n) for i, n in enumerate(value.shape))
        carried.replace(name, _overwritten(value, chosen, np.asarray(slim.read(name)), name))
    return carried


def _overwritten(
    value: NDArray[Any], chosen: tuple[NDArray[np.intp], ...], kept: NDArray[Any], name: str
) -> NDArray[Any]:
    if kept.shape != tuple(len(indices) for indices in chosen):
        raise InternalError(
            f"initializer {name!r} of the slim model has shape {list(kept.shape)}; the plan keeps "
            f"{[len(indices) for indices in chosen]}"
        )
    value[np.ix_(*chosen) if chosen else ()] = kept
    return value
