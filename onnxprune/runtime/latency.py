"""How long models take, and whether one is really faster than another.

All models are timed in one process, turn by turn (see `timing`). A sample is the mean of
`calls` runs in a row, as many as the clock needs. With t_i the samples of a model and r_i
those of the reference,

    ratio = median_i(t_i) / median_i(r_i),   below 1 is faster,

with a 95 % interval from a bootstrap over rounds, or the same of a lower percentile, which other load on the machine
disturbs less, where it is small pieces of work that are compared. (The median of t_i / r_i is worse: load that
interrupts a run now and then leaves both medians alone, but doubles the broken pairs.)
Measuring goes on until the interval is narrow or time is up. Input and output copies are part
of a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from onnxprune.core.errors import InternalError
from onnxprune.runtime.session import ModelSource, Session, make_session, run
from onnxprune.runtime.timing import Call, TurnLimits, take_turns, warm_up
from onnxprune.runtime.values import AnyArray, is_numpy_type, to_ort_values

__all__ = ["NOISE_LIMIT", "Latency", "LatencyComparison", "LatencyOptions", "Ratio", "measure"]

NOISE_LIMIT = 0.30
_SAMPLE_S = 200e-6
_RESAMPLES = 500
_NARROW = 0.04


@dataclass(frozen=True)
class LatencyOptions:
    """How to measure.

    Attributes:
        repeats: Samples per model, at least.
        warmup_s: Seconds of warm-up per model, at least; it goes on until two windows of runs
            agree within 5 %, for three times as long at most.
        min_time_s: Seconds of measuring over all models, at least.
        settle_time_s: Seconds of measuring over all models after which a ratio's interval may
            stay wider than 4 % of the ratio.
        max_time_s: Seconds of measuring over all models after which `repeats` is given up;
            five samples are always taken.
        threads: Threads within one operator, as `make_session` takes it.
        provider: As `resolve_provider` takes it.
        batch: Batch size of the feeds, for the record.
        seed: Seed of the bootstrap.
        percentile: Of the samples, which ratios compare; 50 for medians.
    """

    repeats: int = 50
    warmup_s: float = 0.2
    min_time_s: float = 1.0
    settle_time_s: float = 4.0
    max_time_s: float = 60.0
    threads: int | None = None
    provider: str = "cpu"
    batch: int = 1
    seed: int = 0
    percentile: float = 50.0


@dataclass(frozen=True)
class Latency:
    """The time of one run of one model, over `n` samples of `calls` runs each, in microseconds.

    The tenth percentile is what other load on the machine disturbs least.
    """

    p50_us: float
    p90_us: float
    p95_us: float
    iqr_us: float
    mean_us: float
    n: int
    calls: int
    p10_us: float = float("nan")

    @property
    def spread(self) -> float:
        """Returns the interquartile range as a share of the median."""
        return self.iqr_us / self.p50_us


@dataclass(frozen=True)
class Ratio:
    """Time over the reference's time, below 1 is faster.

    Attributes:
        median: Ratio of the medians, or of the percentile that the options name.
        low: Lower end of its 95 % interval.
        high: Upper end.
        iqr: Interquartile range of the ratios of single rounds.
    """

    median: float
    low: float
    high: float
    iqr: float


@dataclass(frozen=True)
class LatencyComparison:
    """Latencies of several models, measured turn by turn.

    Attributes:
        latencies: Model → latency; the first is the reference.
        ratios: Every other model → its ratio to the reference.
        provider: Full name of the execution provider.
        threads: Threads within one operator.
        batch: Batch size.
        notes: Sentences on noise and on limits of the measurement.
    """

    latencies: Mapping[str, Latency]
    ratios: Mapping[str, Ratio]
    provider: str
    threads: int
    batch: int
    notes: tuple[str, ...] = field(default=())

    @property
    def noisy(self) -> bool:
        """Returns whether some model's spread is above `NOISE_LIMIT`."""
        return any(latency.spread > NOISE_LIMIT for latency in self.latencies.values())


def measure(
    models: Mapping[str, ModelSource | Session],
    feeds: Mapping[str, AnyArray],
    options: LatencyOptions | None = None,
) -> LatencyComparison:
    """Returns the latencies of `models` on `feeds`, the first being the reference.

    Args:
        models: Name → model, or a session; provider and threads of `options` are for the former.
        feeds: Input name → array, for every model.
        options: How to measure.

    Raises:
        ModelError: when a model cannot be loaded or run.
        DataError: when `feeds` does not fit a model.
        UsageError: when the provider does not work here.
    """
    if not models:
        raise InternalError("measure() was given no model.")
    options = options or LatencyOptions()
    sessions = _sessions(models, options)
    calls: dict[str, Call] = {}
    for name, session in sessions.items():
        run(session, feeds)  # Reports what does not fit before the clock starts.
        calls[name] = _caller(session, feeds)
    typical = {name: warm_up(call, options.warmup_s) for name, call in calls.items()}
    counts = {name: max(1, round(_SAMPLE_S / seconds)) for name, seconds in typical.items()}
    limits = TurnLimits(options.repeats, options.min_time_s, options.settle_time_s, options.max_time_s)
    samples = take_turns(calls, counts, limits, lambda found: _is_settled(found, options))
    latencies = {name: _summary(samples[name], counts[name]) for name in calls}
    ratios = _ratios(samples, options)
    provider, threads = _conditions(next(iter(sessions.values())))
    return LatencyComparison(latencies, ratios, provider, threads, options.batch, _notes(latencies, options))


def _sessions(models: Mapping[str, ModelSource | Session], options: LatencyOptions) -> dict[str, Session]:
    sessions = {
        name: model
        if isinstance(model, ort.InferenceSession)
        else make_session(model, provider=options.provider, threads=options.threads)
        for name, model in models.items()
    }
    if len({_conditions(session) for session in sessions.values()}) > 1:
        found = ", ".join(f"{name}: {_conditions(session)}" for name, session in sessions.items())
        raise InternalError(f"sessions to compare differ in provider or threads: {found}")
    return sessions


def _conditions(session: Session) -> tuple[str, int]:
    """Returns the provider and the threads that a session really has."""
    return session.get_providers()[0], session.get_session_options().intra_op_num_threads


def _caller(session: Session, feeds: Mapping[str, AnyArray]) -> Call:
    names, arrays = [o.name for o in session.get_outputs()], dict(feeds)
    if all(is_numpy_type(v.type) for v in (*session.get_inputs(), *session.get_outputs())):
        return lambda: session.run(names, arrays)
    values = to_ort_values(feeds)
    return lambda: session.run_with_ort_values(names, values)


def _summary(seconds: NDArray[np.float64], calls: int) -> Latency:
    p10, p25, p50, p75, p90, p95 = (float(v) for v in np.percentile(seconds * 1e6, [10, 25, 50, 75, 90, 95]))
    return Latency(p50, p90, p95, p75 - p25, float(seconds.mean() * 1e6), len(seconds), calls, p10)


def _ratios(samples: Mapping[str, NDArray[np.float64]], options: LatencyOptions) -> dict[str, Ratio]:
    """Returns the ratio of every model but the first to the first."""
    (_, reference), *others = samples.items()
    rng, q = np.random.default_rng(options.seed), options.percentile
    rounds = len(reference)
    picks = rng.integers(0, rounds, (_RESAMPLES, rounds))
    middles = np.percentile(reference[picks], q, axis=1)
    ratios = {}
    for name, seconds in others:
        low, high = np.percentile(np.percentile(seconds[picks], q, axis=1) / middles, [2.5, 97.5])
        p25, p75 = np.percentile(seconds / reference, [25, 75])
        middle = float(np.percentile(seconds, q) / np.percentile(reference, q))
        ratios[name] = Ratio(middle, float(low), float(high), float(p75 - p25))
    return ratios


def _is_settled(samples: Mapping[str, NDArray[np.float64]], options: LatencyOptions) -> bool:
    return all(r.high - r.low <= _NARROW * r.median for r in _ratios(samples, options).values())


def _notes(latencies: Mapping[str, Latency], options: LatencyOptions) -> tuple[str, ...]:
    notes = [
        f"Noise: the spread (IQR over median) of {name} is {latency.spread:.0%}, above {NOISE_LIMIT:.0%}; "
        "other load on this machine disturbs the latency figures."
        for name, latency in latencies.items()
        if latency.spread > NOISE_LIMIT
    ]
    fewest = min(latency.n for latency in latencies.values())
    if fewest < options.repeats:
        notes.append(
            f"Only {fewest} of {options.repeats} latency samples were taken within {options.max_time_s:g} seconds."
        )
    return tuple(notes)
