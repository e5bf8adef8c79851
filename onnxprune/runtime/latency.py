"""How long models take, and whether one is really faster than another.

All models are timed in one process, turn by turn (see `timing`), in several stands with sessions made anew
(see `stands`). A sample is the mean of as many runs in a row as the clock needs. Models are held against each
other by the lower quartiles of their samples in each stand (see `ratios`): these stand for the runs that
nothing else disturbed. On a busy machine times fall into two heaps, of runs that were let through and of runs
that had to wait for a core, and where the heaps are about as large the median jumps from one to the other.
(The median of ratios of single rounds is worse still: an interruption breaks a pair from either side.)
Measuring goes on until the interval is narrow or time is up. Input and output copies are part of a run,
unless inputs and outputs are asked to stay on the device.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from onnxprune.core.errors import InternalError
from onnxprune.graph import Model
from onnxprune.runtime.callers import FixedRun, copying_run, resident_run
from onnxprune.runtime.large import with_data_file
from onnxprune.runtime.ratios import Ratio, Samples, find_ratio
from onnxprune.runtime.session import ModelSource, Session, make_session, run
from onnxprune.runtime.stands import StandLimits, Stands, take_stands
from onnxprune.runtime.timing import Call
from onnxprune.runtime.values import AnyArray

__all__ = ["NOISE_LIMIT", "Latency", "LatencyComparison", "LatencyOptions", "measure"]

NOISE_LIMIT = 0.30
_NARROW = 0.04


@dataclass(frozen=True)
class LatencyOptions:
    """How to measure.

    Attributes:
        repeats: Samples per model, at least.
        warmup_s: Seconds of warm-up per model, at least; it goes on until two windows of runs
            agree within 5 %, for three times as long at most.
        min_time_s: Seconds of measuring over all models, at least.
        settle_time_s: Seconds over all models, with making sessions anew, after which a ratio's interval may
            stay wider than 4 % of the ratio.
        max_time_s: Seconds of measuring over all models after which `repeats` is given up;
            five samples are always taken.
        stands: How often sessions are made, at least, where models are given and not sessions; fewer where making
            them takes long. 1 makes them once.
        threads: Threads within one operator, as `make_session` takes it.
        provider: As `resolve_provider` takes it.
        batch: Batch size of the feeds, for the record.
        seed: Seed of the bootstrap.
        resident: Whether inputs lie on the provider's device before the clock starts, and outputs stay there.
        percentile: Of the samples, which ratios compare.
        cuda_graph: Whether CUDA records a run and replays it, with inputs and outputs that stay on the device; see
            `cuda_graph_obstacle`, which says where that is legal.
    """

    repeats: int = 50
    warmup_s: float = 0.2
    min_time_s: float = 1.0
    settle_time_s: float = 4.0
    max_time_s: float = 60.0
    stands: int = 8
    threads: int | None = None
    provider: str = "cpu"
    batch: int = 1
    seed: int = 0
    resident: bool = False
    percentile: float = 25.0
    cuda_graph: bool = False


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
class LatencyComparison:
    """Latencies of several models, measured turn by turn.

    Attributes:
        latencies: Model → latency; the first is the reference.
        ratios: Every other model → its ratio to the reference.
        provider: Full name of the execution provider.
        threads: Threads within one operator.
        batch: Batch size.
        notes: Sentences on noise and on limits of the measurement.
        stands: How often sessions of all models were made.
        against: Model → every other model → the ratio of its time to that of the former.
    """

    latencies: Mapping[str, Latency]
    ratios: Mapping[str, Ratio]
    provider: str
    threads: int
    batch: int
    notes: tuple[str, ...] = field(default=())
    stands: int = 1
    against: Mapping[str, Mapping[str, Ratio]] = field(default_factory=dict)

    @property
    def noisy(self) -> bool:
        """Returns whether some model's spread is above `NOISE_LIMIT`."""
        return any(latency.spread > NOISE_LIMIT for latency in self.latencies.values())

    def best_form(self, forms: Collection[str]) -> str:
        """Returns the fastest form of the reference, itself where no other one was shown to be faster.

        Args:
            forms: Names of models that are other forms of the reference.
        """
        faster = [name for name in forms if self.ratios[name].high < 1]
        return min(faster, key=lambda name: self.ratios[name].value, default=next(iter(self.latencies)))


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
    with tempfile.TemporaryDirectory(prefix="onnxprune-", ignore_cleanup_errors=True) as scratch:
        maker = _Maker(models, feeds, options, Path(scratch))
        limits = StandLimits(
            stands=options.stands if maker.anew else 1,
            repeats=options.repeats,
            warmup_s=options.warmup_s,
            min_time_s=options.min_time_s,
            settle_time_s=options.settle_time_s,
            max_time_s=options.max_time_s,
            seed=options.seed,
        )
        found = take_stands(maker, limits, lambda stands: _is_settled(stands, options))
    latencies = {name: _summary(found.pooled(name), calls) for name, calls in found.calls.items()}
    against = {name: _ratios(found.samples, options, name) for name in latencies}
    provider, threads = maker.conditions
    return LatencyComparison(
        latencies,
        against[next(iter(against))],
        provider,
        threads,
        options.batch,
        _notes(latencies, found, options),
        len(found.samples),
        against,
    )


class _Maker:
    """Makes the runs of a stand.

    Attributes:
        anew: Whether sessions are made for each stand; those that were given stay.
        conditions: Provider and threads that sessions really have, once there are some.
    """

    def __init__(
        self,
        models: Mapping[str, ModelSource | Session],
        feeds: Mapping[str, AnyArray],
        options: LatencyOptions,
        scratch: Path,
    ) -> None:
        self._feeds, self._options = feeds, options
        self.anew = not any(isinstance(model, ort.InferenceSession) for model in models.values())
        self.conditions = ("", 0)
        self._models = {name: _held(model, scratch / str(n)) for n, (name, model) in enumerate(models.items())}
        self._outputs: dict[str, Mapping[str, AnyArray]] = {}

    def __call__(self, number: int) -> dict[str, Call]:
        """Returns a run of each model, of sessions made in an order drawn anew."""
        names = list(self._models)
        order = np.random.default_rng([self._options.seed, number]).permutation(names).tolist()
        sessions = {name: self._session(name) for name in (order if number else names)}
        found = {name: _conditions(session) for name, session in sessions.items()}
        if len(set(found.values())) > 1:
            listed = ", ".join(f"{name}: {each}" for name, each in found.items())
            raise InternalError(f"sessions to compare differ in provider or threads: {listed}")
        self.conditions = found[names[0]]
        return {name: self._run(name, sessions[name], number) for name in names}

    def _session(self, name: str, *, plain: bool = False) -> Session:
        model, folder = self._models[name]
        if isinstance(model, ort.InferenceSession):
            return model
        return make_session(
            model,
            provider=self._options.provider,
            threads=self._options.threads,
            folder=folder,
            cuda_graph=self._options.cuda_graph and not plain,
        )

    def _run(self, name: str, session: Session, number: int) -> Call:
        if self._options.cuda_graph:
            if name not in self._outputs:  # a plain run in a session that records would be what it records
                self._outputs[name] = run(self._session(name, plain=True), self._feeds)
            return FixedRun(session, self._feeds, self._outputs[name])
        if number == 0:
            run(session, self._feeds)  # Reports what does not fit before the clock starts.
        return (resident_run if self._options.resident else copying_run)(session, self._feeds)


def _held(model: ModelSource | Session, folder: Path) -> tuple[onnx.ModelProto | bytes | Path | Session, Path | None]:
    """Returns a model as sessions are made of it quickly, again and again, and the folder of its weights."""
    if not isinstance(model, Model):
        return model, None
    folder.mkdir()
    return with_data_file(model, folder)


def _conditions(session: Session) -> tuple[str, int]:
    """Returns the provider and the threads that a session really has."""
    return session.get_providers()[0], session.get_session_options().intra_op_num_threads


def _summary(seconds: NDArray[np.float64], calls: int) -> Latency:
    quantiles = tuple(float(v) for v in np.percentile(seconds * 1e6, range(5, 100, 5)))
    p10, p25, p50, p75, p90, p95 = (quantiles[share // 5 - 1] for share in (10, 25, 50, 75, 90, 95))
    p99 = float(np.percentile(seconds * 1e6, 99))
    return Latency(p50, p90, p95, p75 - p25, float(seconds.mean() * 1e6), len(seconds), calls, p10, p99, quantiles)


def _ratios(stands: tuple[Samples, ...], options: LatencyOptions, reference: str) -> dict[str, Ratio]:
    """Returns the ratio of every model but `reference` to it."""
    return {
        name: find_ratio(stands, name, reference, percentile=options.percentile, seed=options.seed)
        for name in stands[0]
        if name != reference
    }


def _is_settled(stands: tuple[Samples, ...], options: LatencyOptions) -> bool:
    first = next(iter(stands[0]))
    return all(r.high - r.low <= _NARROW * r.value for r in _ratios(stands, options, first).values())


def _notes(latencies: Mapping[str, Latency], found: Stands, options: LatencyOptions) -> tuple[str, ...]:
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
    if found.costly_s:
        notes.append(
            f"Sessions were made once, because that takes {found.costly_s:.0f} seconds: the interval does not hold by "
            "how much two sessions of one file differ, some two per cent."
        )
    return tuple(notes)
