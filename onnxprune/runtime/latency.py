"""How long models take, and whether one is really faster than another.

All models are timed in one process, turn by turn (see `timing`). A sample is the mean of
`calls` runs in a row, as many as the clock needs. With t_i the samples of a model and r_i
those of the reference,

    ratio = quartile_i(t_i) / quartile_i(r_i),   below 1 is faster,

with a 95 % interval: the wider, on each side, of a bootstrap over rounds and of Student's t over five
stretches of rounds in a row, which sees load that comes and goes for a second. The lower quartile
stands for the runs that nothing else disturbed: on a busy machine times fall into two heaps, of runs
that were let through and of runs that had to wait for a core, and where the heaps are about as large
the median jumps from one to the other. (The median of t_i / r_i is worse still: an interruption breaks
a pair from either side.)
Measuring goes on until the interval is narrow or time is up. Input and output copies are part
of a run, unless inputs and outputs are asked to stay on the device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from onnxprune.core.errors import InternalError
from onnxprune.runtime.providers import CUDA, TENSORRT
from onnxprune.runtime.session import ModelSource, Session, make_session, run
from onnxprune.runtime.timing import Call, TurnLimits, take_turns, warm_up
from onnxprune.runtime.values import AnyArray, is_numpy_type, to_ort_values

__all__ = ["NOISE_LIMIT", "Latency", "LatencyComparison", "LatencyOptions", "Ratio", "measure"]

NOISE_LIMIT = 0.30
_SAMPLE_S = 200e-6
_RESAMPLES = 500
_NARROW = 0.04
_STRETCHES = 5
_STUDENT = 2.776
"""97.5 % of Student's t with one degree of freedom less than there are stretches."""
_DEVICES = {CUDA: "cuda", TENSORRT: "cuda"}


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
        resident: Whether inputs lie on the provider's device before the clock starts, and outputs stay there.
        percentile: Of the samples, which ratios compare.
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
    resident: bool = False
    percentile: float = 25.0


@dataclass(frozen=True)
class Latency:
    """The time of one run of one model, over `n` samples of `calls` runs each, in microseconds.

    The tenth percentile is what other load on the machine disturbs least; `quantiles_us` are at 5 %, 10 %, …, 95 %.
    Each sample is a mean over `calls` runs, so that percentiles of models that run for less than a fifth of a
    millisecond are those of such means.
    """

    p50_us: float
    p90_us: float
    p95_us: float
    iqr_us: float
    mean_us: float
    n: int
    calls: int
    p10_us: float = float("nan")
    p99_us: float = float("nan")
    quantiles_us: tuple[float, ...] = ()

    @property
    def spread(self) -> float:
        """Returns the interquartile range as a share of the median."""
        return self.iqr_us / self.p50_us


@dataclass(frozen=True)
class Ratio:
    """Time over the reference's time, below 1 is faster.

    Attributes:
        value: Ratio of the lower quartiles, or of the percentile that the options name.
        low: Lower end of its 95 % interval.
        high: Upper end.
        iqr: Interquartile range of the ratios of single rounds.
    """

    value: float
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
        calls[name] = _resident_caller(session, feeds) if options.resident else _caller(session, feeds)
    typical = {name: warm_up(call, options.warmup_s) for name, call in calls.items()}
    counts = {name: max(1, round(_SAMPLE_S / seconds)) for name, seconds in typical.items()}
    limits = TurnLimits(options.repeats, options.min_time_s, options.settle_time_s, options.max_time_s)
    samples = take_turns(calls, counts, limits, lambda found: _is_settled(found, options), options.seed)
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


def _resident_caller(session: Session, feeds: Mapping[str, AnyArray]) -> Call:
    """Returns a run whose inputs and outputs stay where the session's first provider computes."""
    device = _DEVICES.get(session.get_providers()[0], "cpu")
    binding = session.io_binding()
    held = {
        name: ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), device, 0) for name, array in feeds.items()
    }
    for name, value in held.items():
        binding.bind_ortvalue_input(name, value)
    for output in session.get_outputs():
        binding.bind_output(output.name, device, 0)

    def call() -> object:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return held  # keeps the inputs alive as long as the call

    return call


def _summary(seconds: NDArray[np.float64], calls: int) -> Latency:
    quantiles = tuple(float(v) for v in np.percentile(seconds * 1e6, range(5, 100, 5)))
    p10, p25, p50, p75, p90, p95 = (quantiles[share // 5 - 1] for share in (10, 25, 50, 75, 90, 95))
    p99 = float(np.percentile(seconds * 1e6, 99))
    return Latency(p50, p90, p95, p75 - p25, float(seconds.mean() * 1e6), len(seconds), calls, p10, p99, quantiles)


def _ratios(samples: Mapping[str, NDArray[np.float64]], options: LatencyOptions) -> dict[str, Ratio]:
    """Returns the ratio of every model but the first to the first."""
    (_, reference), *others = samples.items()
    rng, q = np.random.default_rng(options.seed), options.percentile
    rounds = len(reference)
    picks = rng.integers(0, rounds, (_RESAMPLES, rounds))
    references = np.percentile(reference[picks], q, axis=1)
    ratios = {}
    for name, seconds in others:
        low, high = np.percentile(np.percentile(seconds[picks], q, axis=1) / references, [2.5, 97.5])
        p25, p75 = np.percentile(seconds / reference, [25, 75])
        value = float(np.percentile(seconds, q) / np.percentile(reference, q))
        reach = _reach(seconds, reference, q)
        low, high = min(low, value / reach), max(high, value * reach)
        ratios[name] = Ratio(value, float(low), float(high), float(p75 - p25))
    return ratios


def _reach(seconds: NDArray[np.float64], reference: NDArray[np.float64], q: float) -> float:
    """Returns the factor by which the ratio may be off, by how much it differs from stretch to stretch."""
    stretches = zip(np.array_split(seconds, _STRETCHES), np.array_split(reference, _STRETCHES), strict=True)
    logs = [float(np.log(np.percentile(a, q) / np.percentile(b, q))) for a, b in stretches]
    return float(np.exp(_STUDENT * np.std(logs, ddof=1) / np.sqrt(_STRETCHES)))


def _is_settled(samples: Mapping[str, NDArray[np.float64]], options: LatencyOptions) -> bool:
    return all(r.high - r.low <= _NARROW * r.value for r in _ratios(samples, options).values())


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
