"""validate_model: latency, outputs and accuracy of the slim model against the original's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from onnxprune.core.errors import ModelError
from onnxprune.core.stage import Bench, Pass
from onnxprune.graph import Model
from onnxprune.runtime import (
    FLOAT16,
    PART_BYTES,
    DenseChoice,
    FeedPair,
    LatencyComparison,
    LatencyOptions,
    NodeSample,
    Runner,
    Session,
    StandIn,
    choose_feeds,
    compare,
    evaluate,
    float16_form,
    make_session,
    measure,
    measure_parts,
    profile_nodes,
    resolve_provider,
    run,
    stand_in,
    usable_cores,
)
from onnxprune.train import Samples
from onnxprune.train.bench import find_samples
from onnxprune.train.custom import load_metric

__all__ = [
    "EVALUATION_BATCH",
    "LARGE_BYTES",
    "PROFILED_RUNS",
    "NodeProfile",
    "ValidateModel",
    "timing_feeds",
    "timing_options",
]

EVALUATION_BATCH = 256
PROFILED_RUNS = 30
LARGE_BYTES = 8 * PART_BYTES
Feeds = dict[str, NDArray[Any]]
ORIGINAL, SLIM = "original", "slim"


@dataclass(frozen=True)
class NodeProfile:
    """Model → its nodes with their times, and how they were timed."""

    provider: str
    threads: int
    batch: int
    runs: int
    nodes: Mapping[str, tuple[NodeSample, ...]]


@dataclass(frozen=True)
class ValidateModel(Pass):
    """Gives "latency", "differences", and "evaluation" where there is evaluation data.

    Where that is asked for, also "latency_by_batch" and "node_times".

    Attributes:
        provider: Execution provider.
        threads: Threads within one operator, or None.
        seed: Draws the inputs.
        metric: A user's metric, "package.module:name", or "".
        batches: Batch sizes at which both models are timed, too.
        profile: Whether nodes are timed.
        dense_forms: Where the original is timed in float16, too.
    """

    provider: str = "auto"
    threads: int | None = None
    seed: int = 0
    metric: str = ""
    batches: tuple[int, ...] = ()
    profile: bool = False
    dense_forms: DenseChoice = "auto"

    name = "validate_model"
    needs = ("original", "slim", "feeds")
    gives = ("latency", "differences")
    edits = ("evaluation", "latency_by_batch", "node_times")

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Measures and compares."""
        stands = {ORIGINAL: stand_in(bench.take("original", Model)), SLIM: stand_in(bench.take("slim", Model))}
        self._say_what_is_missing(stands, bench)
        feeds = timing_feeds(bench, stands[ORIGINAL].model, self.seed)
        options = timing_options(feeds, self.provider, self.threads, self.seed)
        if stands[ORIGINAL].model.weight_bytes() > LARGE_BYTES:
            if "eval_data" in bench.artifacts:
                bench.note("Accuracy was not measured: the models are too large to hold both of them.")
            if self.batches or self.profile:
                bench.note("Other batch sizes and nodes were not timed: the models are too large to hold both of them.")
            return self._in_parts({name: stand.model for name, stand in stands.items()}, feeds, options)
        models = {name: stand.model for name, stand in stands.items()}
        evaluated = not stands[SLIM].notes
        found = self._with_sessions(models, feeds, bench, evaluated=evaluated)
        found["latency"] = measure({**models, **self._other_forms(models[ORIGINAL], feeds, bench)}, feeds, options)
        if self.batches:
            found["latency_by_batch"] = self._by_batch(models, bench)
        if self.profile:
            found["node_times"] = self._profile(models, feeds, options)
        return found

    def _with_sessions(
        self, models: Mapping[str, Model], feeds: Feeds, bench: Bench, *, evaluated: bool
    ) -> dict[str, Any]:
        """Compares outputs and accuracy, in sessions that are gone when others are made to be timed."""
        sessions = {
            name: make_session(model, provider=self.provider, threads=self.threads) for name, model in models.items()
        }
        found: dict[str, Any] = {
            "differences": compare(run(sessions[ORIGINAL], feeds), run(sessions[SLIM], feeds)),
        }
        data = find_samples(bench, "eval_data")
        if data is not None and evaluated:
            found["evaluation"] = self._evaluate(sessions, data, bench)
        return found

    def _other_forms(self, original: Model, feeds: Feeds, bench: Bench) -> dict[str, onnx.ModelProto]:
        """Returns other dense forms of the original, to be timed beside it."""
        form = float16_form(original, feeds, choice=self.dense_forms, provider=self.provider, threads=self.threads)
        if form.reason:
            bench.note(form.reason)
        return {FLOAT16: form.model} if form.model is not None else {}

    def _by_batch(self, models: Mapping[str, Model], bench: Bench) -> tuple[LatencyComparison, ...]:
        """Returns the latencies at each batch size that the models take."""
        found = []
        for batch in dict.fromkeys(self.batches):
            feeds = timing_feeds(bench, models[ORIGINAL], self.seed, batch)
            options = timing_options(feeds, self.provider, self.threads, self.seed)
            if options.batch != batch:
                bench.note(f"Latency at batch {batch} was not measured: the model's batch is {options.batch}.")
                continue
            try:
                found.append(measure(models, feeds, options))
            except ModelError as error:
                bench.note(f"Latency at batch {batch} was not measured. {error}")
        return tuple(found)

    def _profile(self, models: Mapping[str, Model], feeds: Feeds, options: LatencyOptions) -> NodeProfile:
        threads = self.threads or usable_cores()
        nodes = profile_nodes(models, feeds, provider=options.provider, threads=threads, runs=PROFILED_RUNS)
        return NodeProfile(options.provider, threads, options.batch, PROFILED_RUNS, nodes)

    def _evaluate(self, sessions: Mapping[str, Session], data: Samples, bench: Bench) -> Any:
        """Returns model → result on `data`, or None where no output can be held against anything."""
        metric = load_metric(self.metric)
        logits = [o.name for o in sessions[ORIGINAL].get_outputs() if len(o.shape or ()) == 2 and "float" in o.type]
        output = logits[0] if len(logits) == 1 else None
        labelled = metric is not None or _are_indices(data)
        if data.labelled and not labelled:
            bench.note(
                "Labels that are no class indices count for no accuracy; agreement with the original was measured. "
                "Give a metric of your own (--metric) to measure by them."
            )
        batches = ((batch.inputs, batch.labels if labelled else None) for batch in data.batches(EVALUATION_BATCH))
        try:
            return evaluate(sessions, batches, output=output, metric=metric)
        except ModelError as error:
            bench.note(f"Accuracy was not measured. {error}")
            return None

    @staticmethod
    def _in_parts(models: Mapping[str, Model], feeds: Feeds, options: LatencyOptions) -> dict[str, Any]:
        """Compares and times models too large to hold, part after part."""
        (expected,), (found,) = Runner(models[ORIGINAL]).run(feeds), Runner(models[SLIM]).run(feeds)
        return {
            "differences": compare(expected, found),
            "latency": measure_parts(models, feeds, options),
        }

    @staticmethod
    def _say_what_is_missing(stands: Mapping[str, StandIn], bench: Bench) -> None:
        if stands[SLIM].notes:
            bench.note(
                "Latency is that of the model without the operators onnxruntime cannot run here; accuracy cannot be "
                "measured without them."
            )


def timing_feeds(bench: Bench, model: Model, seed: int, batch: int = 1) -> Feeds:
    """Returns the inputs that a model of this run is timed on, of the data where there are any.

    Args:
        bench: Holds the data.
        model: The model.
        seed: Draws what the data do not give.
        batch: Samples, where the model leaves their number open.
    """
    data = find_samples(bench, "eval_data", "data")
    sample = dict(bench.take("feeds", FeedPair).first)
    if data is not None:
        sample |= data.first(1).inputs
    return choose_feeds(model.inputs(), batch=batch, other=None, rng=np.random.default_rng(seed), sample=sample)


def timing_options(feeds: Feeds, provider: str, threads: int | None, seed: int) -> LatencyOptions:
    """Returns how a model of this run is timed on `feeds`."""
    batch = next((int(v.shape[0]) for v in feeds.values() if v.ndim), 1)
    return LatencyOptions(threads=threads, provider=resolve_provider(provider), batch=batch, seed=seed)


def _are_indices(data: Samples) -> bool:
    labels = data.first(1).labels
    return labels is not None and labels.dtype.kind in "iu"
