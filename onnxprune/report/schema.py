"""The content of report.json, version 1.

Every part that a run may lack is optional; null means "not measured". Times are in the unit
of their name, shares lie in [0, 1], ratios are after over before. Figures that are not finite
become null, since JSON has no NaN.

New parts are optional, so that reports written before stay readable under the same version; the
version rises when a part that is there changes its meaning or goes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, JsonValue, ValidationError

from onnxprune.core.errors import InputError
from onnxprune.report.parts.base import Record, finite
from onnxprune.report.parts.checks import Accuracy, Certificate, Evaluation, GateRecord, OutputRecord, Parity
from onnxprune.report.parts.cuts import FormRecord, FrozenRecord, GroupRecord, OrderRecord, TileRecord
from onnxprune.report.parts.learning import Epoch, Recovery, RecoveryStage, Search, SearchPoint, Training
from onnxprune.report.parts.models import BudgetRecord, Cost, ModelRecord, PlanRecord, TensorRecord
from onnxprune.report.parts.progress import Failure, PassRecord
from onnxprune.report.parts.times import DenseRecord, LatencyRecord, LatencyReport, NodeTime, NodeTimes
from onnxprune.report.write import write_text

__all__ = [
    "SCHEMA_VERSION",
    "Accuracy",
    "BudgetRecord",
    "Certificate",
    "Cost",
    "Curve",
    "CurvePoint",
    "DenseRecord",
    "Epoch",
    "Evaluation",
    "Failure",
    "FormRecord",
    "FrozenRecord",
    "GateRecord",
    "GroupRecord",
    "LatencyRecord",
    "LatencyReport",
    "ModelRecord",
    "NodeTime",
    "NodeTimes",
    "OrderRecord",
    "OutputRecord",
    "Parity",
    "PassRecord",
    "PlanRecord",
    "Recovery",
    "RecoveryStage",
    "Report",
    "Search",
    "SearchPoint",
    "TensorRecord",
    "TileRecord",
    "Training",
    "read_curve",
    "read_report",
    "schema_text",
    "write_report",
]

SCHEMA_VERSION = 1
T = TypeVar("T", bound=BaseModel)


class Report(Record):
    """A run: what was asked, what was done, and what came of it.

    A run that failed holds what it had reached, and has no `output`; a gate that is not met is no failure.
    """

    schema_version: Literal[1] = 1
    command: str
    status: Literal["done", "failed"] = "done"
    failure: Failure | None = None
    options: dict[str, JsonValue] = Field(default_factory=dict)
    seed: int | None = None
    model: ModelRecord
    output: ModelRecord | None = None
    plan: PlanRecord | None = None
    budgets: tuple[BudgetRecord, ...] = ()
    before: Cost | None = None
    after: Cost | None = None
    latency: LatencyReport | None = None
    latency_by_batch: tuple[LatencyReport, ...] = ()
    node_times: NodeTimes | None = None
    evaluation: Evaluation | None = None
    groups: tuple[GroupRecord, ...] = ()
    tiles: tuple[TileRecord, ...] = ()
    orders: tuple[OrderRecord, ...] = ()
    frozen: tuple[FrozenRecord, ...] = ()
    unknown_ops: dict[str, int] = Field(default_factory=dict)
    certificate: Certificate | None = None
    parity: Parity | None = None
    gates: tuple[GateRecord, ...] = ()
    recovery: Recovery | None = None
    search: Search | None = None
    training: Training | None = None
    no_training: str = Field("", description="What it means that there was no retraining; empty when there was.")
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    passes: tuple[PassRecord, ...] = ()
    environment: dict[str, JsonValue] = Field(default_factory=dict)

    def to_json(self) -> str:
        """Returns the report as JSON text: fields in the order of the schema, free tables sorted."""
        content = self.model_dump(mode="json")
        for table in ("options", "environment", "unknown_ops"):
            content[table] = _sorted(content[table])
        return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


class CurvePoint(Record):
    """One budget of a curve, and what came of it; `file` has a report.json of its own beside it."""

    file: str = ""
    budgets: tuple[BudgetRecord, ...] = ()
    before: Cost | None = None
    after: Cost | None = None
    latency: LatencyReport | None = None
    evaluation: Evaluation | None = None
    gates: tuple[GateRecord, ...] = ()


class Curve(Record):
    """Several budgets for one model."""

    schema_version: Literal[1] = 1
    points: tuple[CurvePoint, ...]

    def to_json(self) -> str:
        """Returns the curve as JSON text."""
        return json.dumps(self.model_dump(mode="json"), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(v) for v in value]
    return finite(value)


def write_report(report: Report, path: Path) -> None:
    """Writes `report` to `path` whole or not at all.

    Raises:
        OutputError: when the place cannot be written.
    """
    write_text(path, report.to_json())


def read_report(path: Path) -> Report:
    """Returns the report in the file `path`.

    Raises:
        InputError: when the file cannot be read, or is not a report of this version.
    """
    return _read(path, Report, "report.json")


def read_curve(path: Path) -> Curve:
    """Returns the curve in the file `path`.

    Raises:
        InputError: when the file cannot be read, or is not a curve of this version.
    """
    return _read(path, Curve, "curve.json")


def _read(path: Path, kind: type[T], called: str) -> T:
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(
            f"{path}: not a {called} of schema version {SCHEMA_VERSION}: {where}: {first['msg']}."
        ) from error


def schema_text() -> str:
    """Returns the JSON schema of report.json, the text of the file schema.json beside this module."""
    return json.dumps(Report.model_json_schema(), indent=1, sort_keys=True) + "\n"
