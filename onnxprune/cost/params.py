"""Number of parameters: elements of all weights, floating-point or quantised."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from onnxprune.axes import Poly
from onnxprune.cost.base import Shapes
from onnxprune.cost.registry import COSTS
from onnxprune.graph import is_weight

if TYPE_CHECKING:
    from onnxprune.graph import Model
    from onnxprune.groups import Analysis

__all__ = ["Params"]


@COSTS.register("params")
class Params:
    """Parameters, each shared initializer once."""

    def polynomial(self, analysis: Analysis, model: Model) -> Poly:
        """Returns the number of parameters of any candidate."""
        return analysis.params

    def recount(self, model: Model, shapes: Shapes) -> float:
        """Returns the number of parameters of a model as it stands."""
        return float(sum(math.prod(c.shape) for c in model.initializers().values() if is_weight(c)))
