"""The content of report.json, version 1.

Every part that a run may lack is optional; null means "not measured". Times are in the unit
of their name, shares lie in [0, 1], ratios are after over before. Figures that are not finite
become null, since JSON has no NaN.

New parts are optional, so that reports written before stay readable under the same version; the
version rises when a part that is there changes its meaning or goes.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError

from onnxprune.core.errors import InputError
from onnxprune.core.tiling import Form
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


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Figure = Annotated[float | None, BeforeValidator(_finite)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TensorRecord(_Record):
    """An input or output of a model; dynamic dimensions by name, null when they have none."""

    name: str
    dtype: str | None = None
    shape: tuple[int | str | None, ...] | None = None


class ModelRecord(_Record):
    """A model file; `file` is empty for a model in memory."""

    file: str = ""
    sha256: str = ""
    opset: int | None = None
    inputs: tuple[TensorRecord, ...] = ()
    outputs: tuple[TensorRecord, ...] = ()


class BudgetRecord(_Record):
    """One budget: as it was given, in absolute units, and what was reached in the same."""

    resource: str
    asked: str
    unit: str = ""
    limit: Figure = None
    original: Figure = None
    reached: Figure = None
    met: bool | None = None


class Cost(_Record):
    """What one model costs: MACs of one input sample, parameters, bytes of the file."""

    macs: Figure = None
    params: Figure = None
    file_bytes: int | None = None


class LatencyRecord(_Record):
    """Time of one run in microseconds, over `n` samples; `quantiles_us` are at 5 %, 10 %, …, 95 %."""

    p50_us: Figure
    p90_us: Figure = None
    p95_us: Figure = None
    p99_us: Figure = None
    iqr_us: Figure = None
    mean_us: Figure = None
    n: int
    quantiles_us: tuple[Figure, ...] = ()


class DenseRecord(_Record):
    """The slim model against the original's fastest dense form; `forms` are those that were timed, by name.

    `ratio` is the slim model's time over that of the form `best`, with its 95 % interval.
    """

    best: str
    ratio: Figure
    ratio_low: Figure = None
    ratio_high: Figure = None
    forms: dict[str, LatencyRecord] = Field(default_factory=dict)


class LatencyReport(_Record):
    """Latency before and after, timed turn by turn; `ratio` with its 95 % interval and IQR.

    `stands` is how often sessions of both models were made anew.
    """

    provider: str
    threads: int
    batch: int
    before: LatencyRecord
    after: LatencyRecord
    ratio: Figure
    ratio_low: Figure = None
    ratio_high: Figure = None
    ratio_iqr: Figure = None
    stands: int | None = None
    dense: DenseRecord | None = Field(None, description="Null where no other dense form was timed.")
    noisy: bool = False
    notes: tuple[str, ...] = ()


class NodeTime(_Record):
    """What one node of the models takes in a run; null in a model that has no node of that name and operator."""

    name: str
    op: str
    before_us: Figure = None
    after_us: Figure = None


class NodeTimes(_Record):
    """Time by node, as onnxruntime's profiler saw it: medians over `runs`, after its own fusions.

    Profiling costs time itself, so that the nodes' times add up to more than the latency.
    """

    provider: str
    threads: int
    batch: int
    runs: int
    nodes: tuple[NodeTime, ...] = ()


class Accuracy(_Record):
    """Shares of the labelled samples whose label is the first class, or among the first five.

    `custom` is the mean of the user's own metric.
    """

    top1: Figure = None
    top5: Figure = None
    custom: Figure = None


class Evaluation(_Record):
    """Both models on the evaluation data; `agreement` is the share of samples with one winner."""

    n: int
    labelled: int = 0
    before: Accuracy = Accuracy()
    after: Accuracy = Accuracy()
    agreement: Figure = None


class GroupRecord(_Record):
    """A group of coupled channels; `macs_share` is the share of all MACs it runs through.

    `approximate` says why removing its channels changes a statistic; "" where removal is exact.
    """

    name: str
    size: int
    kept: int
    alignment: int | None = None
    macs_share: Figure = None
    approximate: str = ""


class FormRecord(_Record):
    """Time of a tiled layer alone in one form over its time dense, with its 95 % interval and IQR."""

    form: Form
    ratio: Figure
    ratio_low: Figure = None
    ratio_high: Figure = None
    ratio_iqr: Figure = None


class TileRecord(_Record):
    """A weight that was cut into tiles: how it is cut, what stays, and how it is computed.

    `kept` of the `blocks` blocks of inputs stay in each tile of outputs; `map` has a text for each tile, with a letter
    for each block: "#" stays, "." goes. `form` is how it is computed: "kernel", by a block-sparse operator that a
    kernel computes where the library is registered; "body", by the same in standard operators; "densify", dense, with
    the weight stored packed and expanded when a session loads the model; or "dense". `ratio` is the time of the layer
    alone in that form over its time dense, with its 95 % interval; null where that was not measured. `forms` holds the
    same of all forms that were timed.
    """

    node: str
    weight: str
    operator: str
    inputs: int
    outputs: int
    block: int
    tile: int
    blocks: int
    kept: int
    pattern: str = Field("", description='"2:4" where every output keeps 2 of each 4 inputs; empty for tiles.')
    form: Form
    ratio: Figure = None
    ratio_low: Figure = None
    ratio_high: Figure = None
    forms: tuple[FormRecord, ...] = ()
    reason: str = Field("", description="Why no block-sparse operator computes it; empty when one does.")
    map: tuple[str, ...] = ()


class OrderRecord(_Record):
    """The order that tiles gave to the channels of a group: `order[i]` is the channel of the original at place i."""

    group: str
    order: tuple[int, ...]


class FrozenRecord(_Record):
    """Channels that stay as they are, the weight axes concerned, and why.

    `chains` are the reasons, each after the operators that lead from the weight to it.
    """

    name: str
    size: int
    members: tuple[str, ...] = ()
    reasons: tuple[str, ...]
    chains: tuple[str, ...] = ()


class Certificate(_Record):
    """Masked original against pruned model: the worst relative difference over the batches."""

    batches: tuple[int, ...]
    max_rel: Figure
    tolerance: float
    passed: bool
    note: str = ""


class OutputRecord(_Record):
    """The difference of one output between two models."""

    name: str
    max_abs: Figure
    max_rel: Figure
    cosine: Figure = None
    identical: bool = False


class Parity(_Record):
    """Two models on the same input, output by output."""

    batches: tuple[int, ...] = ()
    outputs: tuple[OutputRecord, ...] = ()


class GateRecord(_Record):
    """A gate, what was found for its metric (null: not measured), and whether it passes.

    `where` names the output at which that was found. An output that is named, and nothing found, is infinitely far off.
    """

    gate: str
    metric: str
    bound: float
    found: Figure = None
    where: str = ""
    passed: bool


class Epoch(_Record):
    """One epoch of retraining: mean loss, metric on validation data, last learning rate.

    `phase` is the round of pruning that it follows, 0 before the first.
    """

    epoch: int
    phase: int = 1
    loss: Figure = None
    metric: Figure = None
    lr: Figure = None
    seconds: Figure = None


class Training(_Record):
    """Retraining; `metric_name` says what each epoch's metric is, `kept_epoch` whose weights were kept."""

    epochs: tuple[Epoch, ...] = ()
    kept_epoch: int | None = None
    stopped_early: bool = False
    metric_name: str = ""
    batch_size: int | None = None
    processes: int = 1
    precision: str = ""
    device: str = ""
    samples: int | None = None
    seconds: Figure = None


class RecoveryStage(_Record):
    """One method of recovery over all layers; errors of the outputs on samples it was not fitted on."""

    method: str
    kept: bool
    error_before: Figure = None
    error_after: Figure = None
    layers_changed: int = 0
    seconds: Figure = None
    reason: str = ""


class Recovery(_Record):
    """What was set right from calibration samples before any training."""

    samples: int
    held_out: int
    error_before: Figure = None
    error_after: Figure = None
    stages: tuple[RecoveryStage, ...] = ()
    skipped: dict[str, str] = Field(default_factory=dict)


class SearchPoint(_Record):
    """Where a search stood: `used` is the share of each limit, `undecided` 1 where every channel is a coin."""

    step: int
    loss: Figure = None
    used: dict[str, Figure] = Field(default_factory=dict)
    undecided: Figure = None
    ratios: dict[str, Figure] = Field(default_factory=dict)


class Search(_Record):
    """How the keep ratios of the groups were learned, before the last cut."""

    steps: int
    seconds: Figure = None
    points: tuple[SearchPoint, ...] = ()


class PassRecord(_Record):
    """One step of the pipeline."""

    name: str
    seconds: Figure = None
    nodes_before: int | None = None
    nodes_after: int | None = None


class Failure(_Record):
    """Why a run ended before its end: the kind of error, what was said, and the pass that was under way."""

    kind: str
    message: str
    exit_code: int
    during: str = ""


class PlanRecord(_Record):
    """The plan that a run carried out instead of deciding; `file` is empty for one in memory.

    `model_sha256` is of the file it was made for, `tool_version` of what decided it, and `as_decided` tells whether it
    was carried out as it was decided, or was written or changed by hand.
    """

    file: str = ""
    model_sha256: str = ""
    tool_version: str = ""
    as_decided: bool = True


class Report(_Record):
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


class CurvePoint(_Record):
    """One budget of a curve, and what came of it; `file` has a report.json of its own beside it."""

    file: str = ""
    budgets: tuple[BudgetRecord, ...] = ()
    before: Cost | None = None
    after: Cost | None = None
    latency: LatencyReport | None = None
    evaluation: Evaluation | None = None
    gates: tuple[GateRecord, ...] = ()


class Curve(_Record):
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
    return _finite(value)


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
