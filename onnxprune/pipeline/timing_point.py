"""All models under one set of conditions: latency, and what else `bench` was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from onnxprune.core.errors import UsageError
from onnxprune.recipe.timing import Timing
from onnxprune.report.records import latency_record
from onnxprune.report.timing_schema import EnergyRecord, RatioRecord, ThroughputRecord, TimedModel, TimingPoint
from onnxprune.runtime import (
    FLOAT16,
    LatencyComparison,
    LatencyOptions,
    ModelSource,
    Ratio,
    Session,
    float16_form,
    make_session,
    measure,
)
from onnxprune.runtime.callers import resident_run
from onnxprune.runtime.cuda_graph import cuda_graph_obstacle
from onnxprune.runtime.energy import energy_per_run, nvml_meter
from onnxprune.runtime.providers import CPU, CUDA, short_name
from onnxprune.runtime.throughput import throughput
from onnxprune.runtime.values import AnyArray

__all__ = ["Place", "time_point"]

Feeds = Mapping[str, AnyArray]


@dataclass(frozen=True)
class Place:
    """Where sessions run: a provider's full name, and threads."""

    provider: str
    threads: int | None

    def session(self, model: ModelSource) -> Session:
        """Returns a session of `model` there."""
        return make_session(model, provider=self.provider, threads=self.threads)


@dataclass
class _Beside:
    """What is measured beside latency: model → records, and sentences on what was not."""

    throughput: dict[str, list[ThroughputRecord]] = field(default_factory=dict)
    energy: dict[str, EnergyRecord] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def time_point(
    files: Mapping[str, Path], feeds: Feeds, place: Place, asked: Timing, dims: Mapping[str, int]
) -> TimingPoint:
    """Returns what was found of all models under one set of conditions.

    Args:
        files: Name → file; the first is the reference.
        feeds: Input name → array, for every model.
        place: Where they run.
        asked: What to measure.
        dims: Dimension → size, for the record.

    Raises:
        ModelError: when a model cannot be loaded or run.
        DataError: when `feeds` does not fit a model.
    """
    beside = _Beside()
    first = next(iter(files))
    forms = _dense_forms(first, files[first], feeds, place, asked, beside)
    records = asked.cuda_graph and _can_record(files, feeds, place, beside)
    leading = next((int(array.shape[0]) for array in feeds.values() if array.ndim), 1)
    resident = place.provider != CPU
    options = LatencyOptions(
        repeats=asked.repeats,
        settle_time_s=min(LatencyOptions.settle_time_s, asked.seconds),
        min_time_s=min(LatencyOptions.min_time_s, asked.seconds),
        max_time_s=asked.seconds,
        provider=place.provider,
        threads=place.threads,
        batch=leading,
        seed=asked.seed,
        resident=resident,
        cuda_graph=records,
    )
    found = measure({**files, **forms}, feeds, options)
    _measure_beside(files, feeds, place, asked, beside)
    best = found.best_form(forms) if forms else ""
    return TimingPoint(
        provider=short_name(found.provider),
        threads=found.threads,
        batch=leading,
        dims=dict(dims),
        resident=resident,
        cuda_graph=records,
        stands=found.stands,
        best_dense=best,
        models=tuple(_timed_model(name, found, best, name in forms, beside) for name in found.latencies),
        noisy=found.noisy,
        notes=(*beside.notes, *found.notes),
    )


def _dense_forms(
    name: str, file: Path, feeds: Feeds, place: Place, asked: Timing, beside: _Beside
) -> dict[str, ModelSource]:
    """Returns other dense forms of the first model, by names of their own."""
    form = float16_form(file, feeds, choice=asked.dense_forms, provider=place.provider, threads=place.threads)
    if form.reason:
        beside.notes.append(form.reason)
    return {f"{name} in {FLOAT16}": form.model} if form.model is not None else {}


def _can_record(files: Mapping[str, Path], feeds: Feeds, place: Place, beside: _Beside) -> bool:
    """Returns whether runs of all models can be recorded; of one that cannot, the reason is noted."""
    for name, file in files.items():
        obstacle = cuda_graph_obstacle(file, feeds, provider=place.provider, threads=place.threads)
        if obstacle:
            beside.notes.append(f"Runs were not recorded as CUDA graphs: {name}: {obstacle}.")
            return False
    return True


def _measure_beside(files: Mapping[str, Path], feeds: Feeds, place: Place, asked: Timing, beside: _Beside) -> None:
    if not asked.callers and not asked.energy:
        return
    sessions = {name: place.session(file) for name, file in files.items()}
    for callers in asked.callers or ():
        for name, rate in throughput(sessions, feeds, callers).items():
            beside.throughput.setdefault(name, []).append(
                ThroughputRecord(callers=callers, runs_per_s=rate.runs_per_s, low=rate.low, high=rate.high)
            )
    if asked.energy:
        _measure_energy(sessions, feeds, place, beside)


def _measure_energy(sessions: Mapping[str, Session], feeds: Feeds, place: Place, beside: _Beside) -> None:
    if place.provider != CUDA:
        beside.notes.append(f"Energy was not measured on {short_name(place.provider)}: NVML counts that of CUDA alone.")
        return
    try:
        with nvml_meter() as meter:
            found = energy_per_run({name: resident_run(each, feeds) for name, each in sessions.items()}, meter)
    except UsageError as error:
        beside.notes.append(f"Energy was not measured: {error}.")
        return
    for name, energy in found.items():
        beside.energy[name] = EnergyRecord(joules=energy.joules, low=energy.low, high=energy.high, watts=energy.watts)


def _timed_model(name: str, found: LatencyComparison, best: str, dense: bool, beside: _Beside) -> TimedModel:
    return TimedModel(
        name=name,
        latency=latency_record(found.latencies[name]),
        ratio=_ratio_record(found.ratios.get(name)),
        ratio_dense=_ratio_record(found.against[best].get(name)) if best else None,
        dense=dense,
        energy=beside.energy.get(name),
        throughput=tuple(beside.throughput.get(name, ())),
    )


def _ratio_record(ratio: Ratio | None) -> RatioRecord | None:
    return None if ratio is None else RatioRecord(ratio=ratio.value, low=ratio.low, high=ratio.high, iqr=ratio.iqr)
