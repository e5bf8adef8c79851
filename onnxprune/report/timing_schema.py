"""What `onnxprune bench` finds, version 1.

Times are in the unit of their name, ratios are over the first model, below 1 is faster; null means "not measured".
"""

from __future__ import annotations

import json
from typing import Literal

from pydantic import Field, JsonValue

from onnxprune.report.parts.base import Figure, Record
from onnxprune.report.parts.models import ModelRecord
from onnxprune.report.parts.times import LatencyRecord

__all__ = [
    "EnergyRecord",
    "NodeRecord",
    "RatioRecord",
    "StartRecord",
    "ThroughputRecord",
    "TimedModel",
    "TimingPoint",
    "TimingReport",
    "timing_schema_text",
]


class RatioRecord(Record):
    """Time over the reference's, with its 95 % interval and the interquartile range of single rounds."""

    ratio: Figure
    low: Figure = None
    high: Figure = None
    iqr: Figure = None


class ThroughputRecord(Record):
    """Runs a second of several callers at once: the median window, the slowest and the fastest."""

    callers: int
    runs_per_s: Figure
    low: Figure = None
    high: Figure = None


class EnergyRecord(Record):
    """Joules of a run: the median window, the least and the most; `watts` while it runs."""

    joules: Figure
    low: Figure = None
    high: Figure = None
    watts: Figure = None


class TimedModel(Record):
    """One model at one point; `dense` says that it is the first one in another form, such as float16."""

    name: str
    latency: LatencyRecord
    ratio: RatioRecord | None = Field(None, description="Null for the reference.")
    ratio_dense: RatioRecord | None = Field(
        None, description="Over the fastest dense form of the first model; null where no other form was timed."
    )
    dense: bool = False
    energy: EnergyRecord | None = None
    throughput: tuple[ThroughputRecord, ...] = ()


class TimingPoint(Record):
    """All models under one set of conditions, timed turn by turn.

    `missing` says why nothing was measured; `resident` whether inputs and outputs stay on the device; `stands` how
    often sessions were made anew; `best_dense` which form of the first model is fastest, where several were timed.
    """

    provider: str
    threads: int | None = None
    batch: int | None = None
    dims: dict[str, int] = Field(default_factory=dict)
    resident: bool = False
    cuda_graph: bool = False
    stands: int | None = None
    best_dense: str = ""
    models: tuple[TimedModel, ...] = ()
    noisy: bool = False
    notes: tuple[str, ...] = ()
    missing: str = ""


class StartRecord(Record):
    """A model in fresh processes: until the session stands, the first run, and memory it took at most."""

    name: str
    provider: str
    threads: int | None = None
    load_ms: Figure
    first_run_ms: Figure
    memory_bytes: int | None = None
    n: int


class NodeRecord(Record):
    """A node of a model, after onnxruntime's fusions, and its share of the time of all nodes."""

    model: str
    provider: str
    node: str
    operator: str
    us: Figure
    share: Figure


class TimingReport(Record):
    """Latencies of several models; the first is the reference."""

    schema_version: Literal[1] = 1
    command: str
    models: dict[str, ModelRecord]
    points: tuple[TimingPoint, ...]
    starts: tuple[StartRecord, ...] = ()
    nodes: tuple[NodeRecord, ...] = ()
    notes: tuple[str, ...] = ()
    environment: dict[str, JsonValue] = Field(default_factory=dict)

    def to_json(self) -> str:
        """Returns the report as JSON text."""
        return json.dumps(self.model_dump(mode="json"), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def timing_schema_text() -> str:
    """Returns the JSON schema of these figures, the text of the file timing_schema.json beside this module."""
    return json.dumps(TimingReport.model_json_schema(), indent=1, sort_keys=True) + "\n"
