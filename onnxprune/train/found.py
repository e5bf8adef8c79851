"""What every source of random access comes down to: arrays by name."""

from __future__ import annotations

from dataclasses import dataclass

from onnxprune.train.stored import Stored

__all__ = ["LABELS", "UNNAMED", "Found"]

LABELS = "labels"
"""Name of the array of labels."""

UNNAMED = ""
"""What the single array of a source without names is called."""


@dataclass(frozen=True)
class Found:
    """What lies at a source.

    Attributes:
        where: What messages call the source.
        kind: What it is, for reports.
        arrays: Name → samples; `LABELS` holds the labels where there are any.
        notes: What was decided for the user and should be said aloud.
        classes: Names of the classes by index, where the source has them.
    """

    where: str
    kind: str
    arrays: dict[str, Stored]
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
