"""Latencies of several models under several conditions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from onnxprune.core.errors import UsageError
from onnxprune.core.events import EventHandler, ignore_events
from onnxprune.core.run import run_passes
from onnxprune.core.stage import Bench
from onnxprune.graph import Model
from onnxprune.passes.import_model import ImportModel
from onnxprune.passes.open_data import OpenData
from onnxprune.passes.write_report import model_record
from onnxprune.pipeline.timing_point import Place, time_point
from onnxprune.pipeline.validating import check_interface
from onnxprune.pipeline.words import check_place, command_line
from onnxprune.recipe.timing import Timing
from onnxprune.report.timing_schema import NodeRecord, StartRecord, TimingPoint, TimingReport
from onnxprune.report.write import write_text
from onnxprune.runtime import choose_feeds, environment, find_feeds
from onnxprune.runtime.feeds import DynamicDims, dynamic_dims
from onnxprune.runtime.fresh_start import fresh_starts
from onnxprune.runtime.node_times import profile_nodes
from onnxprune.runtime.providers import resolve_provider, short_name
from onnxprune.runtime.values import AnyArray
from onnxprune.train.bench import find_samples

__all__ = ["bench"]

Feeds = dict[str, AnyArray]


def bench(options: Timing, on_event: EventHandler = ignore_events) -> TimingReport:
    """Returns how long models take, under every combination of the conditions that are asked for.

    Args:
        options: Models and conditions.
        on_event: Called with progress.

    Raises:
        UsageError: when no provider works here, or a dimension is none of the models'.
        OnnxPruneError: when a model or the data cannot be used, or inputs and outputs differ.
    """
    if options.out is not None:
        check_place(options.out)
    stage = Bench(on_event=on_event)
    models = _load(options, stage)
    found = _Run(options, stage, models).report()
    if options.out is not None:
        write_text(options.out, found.to_json())
    return found


def _load(options: Timing, stage: Bench) -> dict[str, Model]:
    """Returns the models by names of their own; "original" on the stage is the first."""
    models: dict[str, Model] = {}
    for path in options.models:
        stage.artifacts.pop("original", None)
        run_passes([ImportModel(path)], stage)
        models[_name(path, options.models, models)] = stage.take("original", Model)
    first, *others = models.values()
    for other in others:
        check_interface(first, other)
    stage.artifacts["original"] = first
    run_passes(
        [
            OpenData(
                eval_data=options.data,
                image_mean=options.image_mean,
                image_std=options.image_std,
                image_size=options.image_size,
                labels="either",
            )
        ],
        stage,
    )
    return models


def _name(path: Path, paths: Sequence[Path], taken: Mapping[str, Model]) -> str:
    """Returns the file's name, with its folder where two files share it, and a number where a file comes twice."""
    shared = any(other.name == path.name and other != path for other in paths)
    name = str(path) if shared else path.name
    same = sum(other == name or other.startswith(f"{name} (") for other in taken)
    return name if not same else f"{name} ({same + 1})"


class _Run:
    """One comparison."""

    def __init__(self, options: Timing, stage: Bench, models: Mapping[str, Model]) -> None:
        self._options, self._stage, self._models = options, stage, models
        self._files = dict(zip(models, options.models, strict=True))
        first = next(iter(models.values()))
        self._inputs = first.inputs()
        self._dims = dynamic_dims(self._inputs)
        self._sample = dict(find_feeds(first, self._inputs, rng=np.random.default_rng(options.seed)).first)
        data = find_samples(stage, "eval_data")
        if data is not None:
            self._sample |= data.first(max(options.batch)).inputs
        self._points: list[TimingPoint] = []
        self._starts: list[StartRecord] = []
        self._nodes: list[NodeRecord] = []
        _check_dims(options.dims, self._dims)

    def report(self) -> TimingReport:
        """Measures everything."""
        wrong: list[str] = []
        for name in dict.fromkeys(self._options.providers):
            try:
                provider = resolve_provider(name)
            except UsageError as error:
                wrong.append(str(error))
                self._points.append(TimingPoint(provider=name, missing=str(error)))
                continue
            for threads in self._options.threads or (None,):
                self._measure(Place(provider, threads))
        if len(wrong) == len(set(self._options.providers)):
            raise UsageError(" ".join(dict.fromkeys(wrong)))
        return TimingReport(
            command=command_line("bench", self._options, ("models",)),
            models={name: model_record(model, self._files[name]) for name, model in self._models.items()},
            points=tuple(self._points),
            starts=tuple(self._starts),
            nodes=tuple(self._nodes),
            notes=tuple(dict.fromkeys(self._stage.notes)),
            environment=environment(),
        )

    def _measure(self, place: Place) -> None:
        typical: Feeds | None = None
        for batch, dims in self._conditions():
            feeds = self._feeds(batch, dims)
            typical = typical or feeds
            self._points.append(time_point(self._files, feeds, place, self._options, dims))
        if typical is not None and self._options.starts:
            self._start(place, typical)
        if typical is not None and self._options.nodes:
            self._list_nodes(place, typical)

    def _conditions(self) -> Iterator[tuple[int, dict[str, int]]]:
        """Gives batch sizes with sizes of other dimensions; one batch size where the models fix it."""
        batches = self._options.batch
        if not self._dims.batch and batches != (1,):
            self._stage.note("The batch size of these models is fixed; --batch was left aside.")
            batches = (1,)
        dims = self._options.dims
        for batch in batches:
            for sizes in itertools.product(*dims.values()):
                yield batch, dict(zip(dims, sizes, strict=True))

    def _feeds(self, batch: int, dims: Mapping[str, int]) -> Feeds:
        rng = np.random.default_rng(self._options.seed)
        return choose_feeds(self._inputs, batch=batch, other=None, rng=rng, sample=self._sample, sizes=dims)

    def _start(self, place: Place, feeds: Feeds) -> None:
        if any(array.dtype.kind == "V" or array.dtype.hasobject for array in feeds.values()):
            self._stage.note("How models start was not measured: their inputs cannot be handed to another process.")
            return
        found = fresh_starts(
            self._files, feeds, provider=place.provider, threads=place.threads, repeats=self._options.starts
        )
        self._starts += [
            StartRecord(
                name=name,
                provider=short_name(place.provider),
                threads=place.threads,
                load_ms=start.load_ms,
                first_run_ms=start.first_run_ms,
                memory_bytes=start.memory_bytes,
                n=start.n,
            )
            for name, start in found.items()
        ]

    def _list_nodes(self, place: Place, feeds: Feeds) -> None:
        for name, nodes in profile_nodes(self._files, feeds, provider=place.provider, threads=place.threads).items():
            whole = sum(node.p50_us for node in nodes) or 1.0
            slowest = sorted(nodes, key=lambda node: -node.p50_us)[: self._options.nodes]
            self._nodes += [
                NodeRecord(
                    model=name,
                    provider=node.provider,
                    node=node.name,
                    operator=node.op,
                    us=node.p50_us,
                    share=node.p50_us / whole,
                )
                for node in slowest
            ]


def _check_dims(asked: Mapping[str, Sequence[int]], dims: DynamicDims) -> None:
    known = (*dims.batch, *dims.other)
    for name in asked:
        if name not in known:
            listed = ", ".join(known) or "none: all are fixed"
            raise UsageError(f"--dim {name}: the models have no such dynamic dimension. They have {listed}.")
        if name in dims.batch:
            raise UsageError(f"--dim {name}: that is the batch. Give its sizes with --batch.")
