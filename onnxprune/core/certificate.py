"""The certificate: evidence that pruning changed nothing but what the plan says."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Certificate", "CertificateRow"]


@dataclass(frozen=True)
class CertificateRow:
    """One comparison of two models that must agree.

    Attributes:
        claim: What was compared with what.
        batch: Batch size.
        output: Name of the output.
        max_abs: Largest absolute deviation.
        max_rel: The same, relative to the largest magnitude of the reference.
    """

    claim: str
    batch: int
    output: str
    max_abs: float
    max_rel: float


@dataclass(frozen=True)
class Certificate:
    """All comparisons of a run.

    Attributes:
        rows: The comparisons.
        tolerance: Largest `max_rel` allowed.
    """

    rows: tuple[CertificateRow, ...]
    tolerance: float

    @property
    def worst(self) -> float:
        """The largest `max_rel` found."""
        return max((row.max_rel for row in self.rows), default=0.0)
