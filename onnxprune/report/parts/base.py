"""What all parts of report.json have in common."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

__all__ = ["Figure", "Record", "finite"]


def finite(value: Any) -> Any:
    """Returns None for a float that is not finite, which JSON cannot write, and anything else as it is."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


Figure = Annotated[float | None, BeforeValidator(finite)]
"""A number, or null for one that was not measured."""


class Record(BaseModel):
    """A part of a report: frozen, with no keys but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
