"""What the passes did, and why a run ended before its end."""

from __future__ import annotations

from onnxprune.report.parts.base import Figure, Record

__all__ = ["Failure", "PassRecord"]


class PassRecord(Record):
    """One step of the pipeline."""

    name: str
    seconds: Figure = None
    nodes_before: int | None = None
    nodes_after: int | None = None


class Failure(Record):
    """Why a run ended before its end: the kind of error, what was said, and the pass that was under way."""

    kind: str
    message: str
    exit_code: int
    during: str = ""
