"""Latencies, of models and of their nodes."""

from __future__ import annotations

from pydantic import Field

from onnxprune.report.parts.base import Figure, Record

__all__ = ["DenseRecord", "LatencyRecord", "LatencyReport", "NodeTime", "NodeTimes"]


class LatencyRecord(Record):
    """Time of one run in microseconds, over `n` samples; `quantiles_us` are at 5 %, 10 %, …, 95 %."""

    p50_us: Figure
    p90_us: Figure = None
    p95_us: Figure = None
    p99_us: Figure = None
    iqr_us: Figure = None
    mean_us: Figure = None
    n: int
    quantiles_us: tuple[Figure, ...] = ()


class DenseRecord(Record):
    """The slim model against the original's fastest dense form; `forms` are those that were timed, by name.

    `ratio` is the slim model's time over that of the form `best`, with its 95 % interval.
    """

    best: str
    ratio: Figure
    ratio_low: Figure = None
    ratio_high: Figure = None
    forms: dict[str, LatencyRecord] = Field(default_factory=dict)


class LatencyReport(Record):
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


class NodeTime(Record):
    """What one node of the models takes in a run; null in a model that has no node of that name and operator."""

    name: str
    op: str
    before_us: Figure = None
    after_us: Figure = None


class NodeTimes(Record):
    """Time by node, as onnxruntime's profiler saw it: medians over `runs`, after its own fusions.

    Profiling costs time itself, so that the nodes' times add up to more than the latency.
    """

    provider: str
    threads: int
    batch: int
    runs: int
    nodes: tuple[NodeTime, ...] = ()
