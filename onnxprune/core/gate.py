"""Gates: bounds on what a run measured, for a pipeline that must stop when one is not met."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from onnxprune.core.errors import UsageError

__all__ = ["METRICS", "Gate"]

METRICS: Mapping[str, str] = {
    "agreement": "percent of the evaluation samples on which both models choose the same class",
    "cosine": "cosine similarity of an output and the original's, the least of all outputs",
    "latency_ratio": "latency of the slim model over the original's",
    "macs_ratio": "MACs likewise",
    "max_abs": "largest difference of an element from the original's output, over all outputs",
    "max_rel": "the same over the largest magnitude of that output",
    "metric": "your own metric (--metric) of the slim model",
    "metric_drop": "loss of it against the original",
    "p50_ms": "median latency of the slim model in milliseconds",
    "p95_ms": "95th percentile of it",
    "p99_ms": "99th percentile of it",
    "params_ratio": "parameters over the original's",
    "size_ratio": "bytes of the files over the original's",
    "speedup": "latency of the original over the slim model's",
    "top1": "top-1 accuracy of the slim model in percent",
    "top1_drop": "loss of top-1 accuracy in points",
    "top5": "top-5 accuracy in percent",
    "top5_drop": "loss of top-5 accuracy in points",
}
"""Metric → what it is."""

_NEED_EVALUATION = ("agreement", "metric", "metric_drop", "top1", "top1_drop", "top5", "top5_drop")
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_PATTERN = re.compile(r"\s*([a-z0-9_]+)\s*(<=|>=|<|>)\s*(\S+)\s*")


@dataclass(frozen=True)
class Gate:
    """A bound on one metric.

    Attributes:
        metric: A key of `METRICS`.
        relation: "<=", ">=", "<" or ">".
        bound: In the metric's unit.
    """

    metric: str
    relation: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> Gate:
        """Returns the gate written as "metric<=bound".

        Raises:
            UsageError: when it is none.
        """
        found = _PATTERN.fullmatch(text)
        bound = math.nan
        if found is not None:
            try:
                bound = float(found[3])
            except ValueError:
                found = None
        if found is None or not math.isfinite(bound):
            raise UsageError(f"Gate {text!r}: expected a metric, a relation and a number, such as 'speedup>=1.2'.")
        if found[1] not in METRICS:
            raise UsageError(f"Gate {text!r}: there is no metric {found[1]!r}. Known: {', '.join(METRICS)}.")
        return cls(found[1], found[2], bound)

    @property
    def needs_evaluation(self) -> bool:
        """Whether the metric exists with evaluation data only."""
        return self.metric in _NEED_EVALUATION

    def holds(self, value: float | None) -> bool:
        """Returns whether a measured value passes; what was not measured does not."""
        return value is not None and _COMPARE[self.relation](value, self.bound)

    def __str__(self) -> str:
        return f"{self.metric}{self.relation}{self.bound:g}"
