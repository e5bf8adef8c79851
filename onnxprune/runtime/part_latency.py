"""Latency of models too large to hold: the sum over parts that are timed one after the other.

With p_i, q_i the median and the interquartile range of part i over n_i samples, a model takes
Σ p_i; the median of part i lies within 1.57 q_i / √n_i of it (95 %, McGill, Tukey and Larsen
1978), and these add as independent errors: h² = Σ (1.57 q_i)² / n_i. The ratio of two models
a, b then lies between (b - h_b) / (a + h_a) and (b + h_b) / (a - h_a).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from onnxprune.core.errors import InternalError
from onnxprune.graph import Model
from onnxprune.runtime.cores import usable_cores
from onnxprune.runtime.latency import Latency, LatencyComparison, LatencyOptions, measure
from onnxprune.runtime.parts import Feeds, PartRun, divide, run_parts
from onnxprune.runtime.providers import resolve_provider
from onnxprune.runtime.ratios import Ratio
from onnxprune.runtime.runner import PART_BYTES
from onnxprune.runtime.session import make_session, run
from onnxprune.runtime.values import AnyArray

__all__ = ["measure_parts"]

_NOTCH = 1.57


@dataclass(frozen=True)
class _Timed:
    """A model: its latency, the error of its median in microseconds, and its number of parts."""

    latency: Latency
    error_us: float
    parts: int


def measure_parts(
    models: Mapping[str, Model],
    feeds: Mapping[str, AnyArray],
    options: LatencyOptions | None = None,
    part_bytes: int = PART_BYTES,
) -> LatencyComparison:
    """Returns the latencies of `models` on `feeds`, the first being the reference.

    Args:
        models: Name → model.
        feeds: Input name → array, for every model.
        options: Threads, provider and batch; how long a part is timed is fixed here.
        part_bytes: Weights of one part.

    Raises:
        ModelError: when a model cannot be loaded or run.
        DataError: when `feeds` does not fit a model.
    """
    if not models:
        raise InternalError("measure_parts() was given no model.")
    options = replace(
        options or LatencyOptions(), repeats=20, warmup_s=0.05, min_time_s=0.1, settle_time_s=0.5, max_time_s=5.0
    )
    timed = {name: _time(model, feeds, options, part_bytes) for name, model in models.items()}
    (_, reference), *others = timed.items()
    counts = ", ".join(f"{name} in {each.parts}" for name, each in timed.items())
    note = (
        f"Latency is the sum over parts that were timed one after the other ({counts}), because the weights are too "
        "large to hold both models; what onnxruntime fuses across parts is not in it."
    )
    return LatencyComparison(
        {name: each.latency for name, each in timed.items()},
        {name: _ratio(reference, each) for name, each in others},
        resolve_provider(options.provider),
        options.threads or usable_cores(),
        options.batch,
        (note,),
    )


def _time(model: Model, feeds: Feeds, options: LatencyOptions, part_bytes: int) -> _Timed:
    found: list[Latency] = []

    def visit(part: PartRun) -> Sequence[Feeds]:
        if not part.part.gives:
            return [{}]
        session = make_session(part.model, provider=options.provider, threads=options.threads, folder=part.folder)
        found.append(measure({"part": session}, part.feeds[0], options).latencies["part"])
        return [run(session, part.feeds[0])]

    skeleton = model.skeleton()
    run_parts(skeleton, divide(skeleton, part_bytes), [feeds], visit)
    error = _NOTCH * math.sqrt(sum(each.iqr_us**2 / each.n for each in found))
    return _Timed(_sum(found), error, len(found))


def _sum(parts: Sequence[Latency]) -> Latency:
    """Returns the latency of parts in a row; the tails are added, which is the worst case."""
    return Latency(
        p50_us=sum(each.p50_us for each in parts),
        p90_us=sum(each.p90_us for each in parts),
        p95_us=sum(each.p95_us for each in parts),
        iqr_us=math.sqrt(sum(each.iqr_us**2 for each in parts)),
        mean_us=sum(each.mean_us for each in parts),
        n=min(each.n for each in parts),
        calls=1,
        p99_us=sum(each.p99_us for each in parts),
    )


def _ratio(reference: _Timed, other: _Timed) -> Ratio:
    a, b = reference.latency, other.latency
    spread = math.hypot(a.iqr_us / a.p50_us, b.iqr_us / b.p50_us) * b.p50_us / a.p50_us
    low = max(0.0, b.p50_us - other.error_us) / (a.p50_us + reference.error_us)
    high = (b.p50_us + other.error_us) / max(a.p50_us - reference.error_us, 1e-3)
    return Ratio(b.p50_us / a.p50_us, low, high, spread)
