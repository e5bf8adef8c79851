"""Calls that look at models and compare them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from onnxprune.core.events import EventHandler, ignore_events

if TYPE_CHECKING:
    from onnxprune.calls.types import DataLike, InputsLike, ModelLike, ModelOrModule
    from onnxprune.core.plan import Plan
    from onnxprune.core.result import Inspection
    from onnxprune.report.schema import Report
    from onnxprune.report.timing_schema import TimingReport

__all__ = ["bench", "inspect", "validate"]


def inspect(
    model: ModelOrModule,
    *,
    example_inputs: InputsLike | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    approximate: bool = False,
    graph: str | os.PathLike[str] | None = None,
    on_event: EventHandler | None = None,
) -> Inspection:
    """Returns groups, costs, frozen channels with their reasons, and the reachable range of a model.

    Args:
        model: A path, a ModelProto or a torch.nn.Module.
        example_inputs: What a module is called with, as in `compress`.
        input_names: What a module's inputs are called.
        output_names: What a module's outputs are called.
        approximate: Whether channels may go over which an operator takes statistics.
        graph: Where an SVG goes that draws the groups on the model's graph.
        on_event: Called with progress (`onnxprune.core.events`).

    Raises:
        OnnxPruneError: when the model cannot be read, or the drawing cannot be written.
    """
    from onnxprune import pipeline

    handler = on_event or ignore_events
    found = pipeline.exported(model, example_inputs, input_names, output_names, handler)
    return pipeline.inspect(found, approximate=approximate, graph=graph, on_event=handler)


def validate(
    original: ModelOrModule,
    slim: ModelLike,
    *,
    example_inputs: InputsLike | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    data: DataLike | None = None,
    image_mean: float | Sequence[float] | None = None,
    image_std: float | Sequence[float] | None = None,
    image_size: int | tuple[int, int] | str | None = None,
    skip_corrupt: bool | None = None,
    metric: str | None = None,
    provider: str | None = None,
    threads: int | None = None,
    batches: int | str | Sequence[int] | None = None,
    profile: bool | None = None,
    plan: str | os.PathLike[str] | Plan | None = None,
    dense_forms: str | None = None,
    report: str | os.PathLike[str] | None = None,
    gates: str | Sequence[str] | None = None,
    on_event: EventHandler | None = None,
) -> Report:
    """Returns how a slim model compares with its original: outputs, accuracy on `data`, size, latency.

    Args:
        original: A path, a ModelProto or a torch.nn.Module.
        slim: A path or a ModelProto, with the same inputs and outputs.
        example_inputs: What a module is called with, as in `compress`.
        input_names: What a module's inputs are called.
        output_names: What a module's outputs are called.
        data: Evaluation data, as in `compress`.
        image_mean: Mean of uint8 images in [0, 1] units, per channel or one for all.
        image_std: Standard deviation of uint8 images, likewise.
        image_size: Pixels that image files are brought to.
        skip_corrupt: Whether image files that cannot be read are left out.
        metric: A metric of your own, "package.module:name".
        provider: "auto" (the default), "cpu" or "cuda".
        threads: Threads per onnxruntime session.
        batches: Batch sizes at which both models are timed, too.
        profile: Whether the nodes of both models are timed, too.
        dense_forms: Where the original is timed in float16, too: "auto" on devices that gain by it, "all" or "off".
        plan: By which `slim` was cut and not trained; it then has to compute what that leaves of `original`.
        report: Where report.json goes, with the same as HTML and Markdown beside it.
        gates: Bounds on what is measured, as in `compress`.
        on_event: Called with progress (`onnxprune.core.events`).

    Raises:
        GateError: when a gate is not met; the Report is its `outcome`.
        CertificateError: when `slim` does not compute what the plan leaves.
        OnnxPruneError: when a model or the data cannot be used, or the two models differ in
            inputs or outputs.
    """
    from onnxprune import pipeline
    from onnxprune.recipe import Comparison

    options = {
        "original": pipeline.exported(original, example_inputs, input_names, output_names, on_event or ignore_events),
        "slim": slim,
        "data": data,
        "image_mean": image_mean,
        "image_std": image_std,
        "image_size": image_size,
        "skip_corrupt": skip_corrupt,
        "metric": metric,
        "provider": provider,
        "threads": threads,
        "batches": batches,
        "profile": profile,
        "plan": plan,
        "dense_forms": dense_forms,
        "report": report,
        "gates": gates,
    }
    return pipeline.validate(Comparison.from_mapping(options), on_event or ignore_events)


def bench(
    models: Sequence[str | os.PathLike[str]],
    *,
    providers: str | Sequence[str] | None = None,
    batch: int | Sequence[int] | None = None,
    threads: int | Sequence[int] | None = None,
    dims: Mapping[str, int | Sequence[int]] | None = None,
    callers: int | Sequence[int] | None = None,
    starts: int | None = None,
    nodes: int | None = None,
    energy: bool | None = None,
    cuda_graph: bool | None = None,
    dense_forms: str | None = None,
    repeats: int | None = None,
    seconds: float | None = None,
    data: DataLike | None = None,
    image_mean: float | Sequence[float] | None = None,
    image_std: float | Sequence[float] | None = None,
    image_size: int | tuple[int, int] | str | None = None,
    seed: int | None = None,
    out: str | os.PathLike[str] | None = None,
    on_event: EventHandler | None = None,
) -> TimingReport:
    """Returns how long models take in onnxruntime, timed turn by turn, each against the first.

    Args:
        models: Paths of models with the same inputs and outputs.
        providers: Execution providers, such as "cpu" or ("cpu", "cuda"); one that does not work here is left out.
        batch: Batch sizes.
        threads: Threads per onnxruntime session.
        dims: Other dynamic dimension → its sizes, such as {"sequence": (128, 512)}.
        callers: Numbers of threads that call at once, to measure throughput.
        starts: Fresh processes for each model, to time how it starts.
        nodes: How many of the slowest nodes of each model to list.
        energy: Whether joules of a run are measured, too, on CUDA by NVML (the extra `onnxprune[energy]`).
        cuda_graph: Whether CUDA records a run and replays it, where the models allow that.
        dense_forms: Where the first model is timed in float16, too: "auto" on devices that gain by it, "all" or "off".
        repeats: Samples of each model under each combination, at least.
        seconds: Of measuring for each combination, at most.
        data: Data to draw inputs from, as in `compress`.
        image_mean: As in `compress`.
        image_std: As in `compress`.
        image_size: Pixels that image files are brought to.
        seed: Seed of everything random.
        out: Where the figures go as JSON.
        on_event: Called with progress (`onnxprune.core.events`).

    Raises:
        UsageError: when no provider works here.
        OnnxPruneError: when a model or the data cannot be used, or inputs and outputs differ.
    """
    from onnxprune import pipeline
    from onnxprune.recipe.timing import Timing

    options = {
        "models": models,
        "providers": providers,
        "batch": batch,
        "threads": threads,
        "dims": dims,
        "callers": callers,
        "starts": starts,
        "nodes": nodes,
        "energy": energy,
        "cuda_graph": cuda_graph,
        "dense_forms": dense_forms,
        "repeats": repeats,
        "seconds": seconds,
        "data": data,
        "image_mean": image_mean,
        "image_std": image_std,
        "image_size": image_size,
        "seed": seed,
        "out": out,
    }
    return pipeline.bench(Timing.from_mapping(options), on_event or ignore_events)
