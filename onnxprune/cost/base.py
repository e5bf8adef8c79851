"""What a cost is: a polynomial to plan with, and a recount that does not share its arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from onnxprune.axes import Poly

if TYPE_CHECKING:
    from onnxprune.graph import Model
    from onnxprune.groups import Analysis

__all__ = ["Cost", "Shapes"]

Shapes = Mapping[str, tuple[int, ...]]


class Cost(Protocol):
    """Counts one resource. Built without arguments."""

    def polynomial(self, analysis: Analysis, model: Model) -> Poly:
        """Returns the cost of any candidate, as a polynomial in kept counts.

        Args:
            analysis: The analysis of `model`.
            model: The model before surgery.
        """

    def recount(self, model: Model, shapes: Shapes) -> float:
        """Returns the cost of a model as it stands, from its nodes and shapes alone.

        Args:
            model: Any model, before or after surgery.
            shapes: Tensor name → shape in a concrete run.
        """
