"""What a run was given and what it cost: models, budgets, and the plan it carried out."""

from __future__ import annotations

from onnxprune.report.parts.base import Figure, Record

__all__ = ["BudgetRecord", "Cost", "ModelRecord", "PlanRecord", "TensorRecord"]


class TensorRecord(Record):
    """An input or output of a model; dynamic dimensions by name, null when they have none."""

    name: str
    dtype: str | None = None
    shape: tuple[int | str | None, ...] | None = None


class ModelRecord(Record):
    """A model file; `file` is empty for a model in memory."""

    file: str = ""
    sha256: str = ""
    opset: int | None = None
    inputs: tuple[TensorRecord, ...] = ()
    outputs: tuple[TensorRecord, ...] = ()


class BudgetRecord(Record):
    """One budget: as it was given, in absolute units, and what was reached in the same."""

    resource: str
    asked: str
    unit: str = ""
    limit: Figure = None
    original: Figure = None
    reached: Figure = None
    met: bool | None = None


class Cost(Record):
    """What one model costs: MACs of one input sample, parameters, bytes of the file."""

    macs: Figure = None
    params: Figure = None
    file_bytes: int | None = None


class PlanRecord(Record):
    """The plan that a run carried out instead of deciding; `file` is empty for one in memory.

    `model_sha256` is of the file it was made for, `tool_version` of what decided it, and `as_decided` tells whether it
    was carried out as it was decided, or was written or changed by hand.
    """

    file: str = ""
    model_sha256: str = ""
    tool_version: str = ""
    as_decided: bool = True
