"""Numbers made comparable by their mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["normalised"]


def normalised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns `values` divided by their mean; unchanged where all are zero."""
    top = values.max()
    if top <= 0:
        return values
    scaled = values / top  # tiny or huge values would lose their mean
    result: NDArray[np.float64] = scaled / scaled.mean()
    return result
