"""What one or two concrete runs of a model tell about its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["ConcreteShapes"]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class ConcreteShapes:
    """Shapes of all tensors of a graph.

    Attributes:
        first: Tensor name → shape in the first run.
        second: The same with every dynamic dimension changed, or None for a static model.
        batch: Size of the batch axis in the first run; costs are divided by it.
        dtypes: Tensor name → dtype in the first run, where it was noted.
    """

    first: Mapping[str, Shape]
    second: Mapping[str, Shape] | None
    batch: int
    dtypes: Mapping[str, np.dtype[Any]] = field(default_factory=dict)

    def dynamic(self, name: str) -> tuple[bool, ...]:
        """Returns which axes of a tensor differ between the runs."""
        shape = self.first[name]
        if self.second is None or name not in self.second:
            return (False,) * len(shape)
        return tuple(a != b for a, b in zip(shape, self.second[name], strict=True))
