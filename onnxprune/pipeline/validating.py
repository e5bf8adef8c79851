"""Two models side by side: outputs, accuracy, size, latency."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onnxprune.core.errors import GateError, ModelError
from onnxprune.core.events import EventHandler, ignore_events
from onnxprune.core.gate import Gate
from onnxprune.core.run import run_passes
from onnxprune.core.stage import Bench, PassRecord
from onnxprune.graph import Model, TensorSpec
from onnxprune.passes.count_original import recount
from onnxprune.passes.import_model import ImportModel
from onnxprune.passes.open_data import OpenData
from onnxprune.passes.validate_model import ValidateModel
from onnxprune.passes.write_report import cost_record, evaluation_of, model_record, pass_record, source_files
from onnxprune.pipeline.words import ModelLike, model_source, option_text
from onnxprune.report.gates import failures, gate_records
from onnxprune.report.records import latency_report, output_records
from onnxprune.report.schema import Parity, Report
from onnxprune.runtime import LatencyComparison, environment, find_feeds, stand_in

__all__ = ["check_interface", "comparison_report", "validate"]


def validate(
    original: ModelLike,
    slim: ModelLike,
    *,
    data: Any = None,
    image_mean: Any = None,
    image_std: Any = None,
    image_size: tuple[int, int] | None = None,
    skip_corrupt: bool = False,
    metric: str | None = None,
    provider: str = "auto",
    threads: int | None = None,
    gates: Sequence[Gate] = (),
    on_event: EventHandler = ignore_events,
) -> Report:
    """Returns how a slim model compares with its original: outputs, accuracy, size, latency.

    Args:
        original: A path or a ModelProto.
        slim: Likewise, with the same inputs and outputs.
        data: Evaluation data, in the forms of `onnxprune.recipe.TrainingFields`.
        image_mean: Mean of uint8 images in [0, 1] units.
        image_std: Standard deviation of uint8 images.
        image_size: Height and width that image files are brought to.
        skip_corrupt: Whether image files that cannot be read are left out.
        metric: A user's metric, "package.module:name".
        provider: "auto", "cpu" or "cuda".
        threads: Threads per onnxruntime session.
        gates: Bounds on what is measured.
        on_event: Called with progress.

    Raises:
        GateError: when a gate is not met; the report is its `outcome`.
        OnnxPruneError: when a model or the data cannot be used, or the interfaces differ.
    """
    bench = Bench(on_event=on_event)
    run_passes([ImportModel(model_source(slim))], bench)
    second = bench.artifacts.pop("original")
    opened = OpenData(
        eval_data=data,
        image_mean=image_mean,
        image_std=image_std,
        image_size=image_size,
        skip_corrupt=skip_corrupt,
        labels="any" if metric else "classes",
    )
    run_passes([ImportModel(model_source(original)), opened], bench)
    first = bench.take("original", Model)
    check_interface(first, second)
    runnable = stand_in(first).model
    feeds = find_feeds(runnable, runnable.inputs(), rng=np.random.default_rng(0))
    bench.artifacts |= {"slim": second, "feeds": feeds}
    records = run_passes([ValidateModel(provider, threads, metric=metric or "")], bench)
    words = ["onnxprune", "validate", option_text(model_source(original)), option_text(model_source(slim))]
    report = comparison_report(bench, shlex.join(words), records, gates, source_files(second))
    if failures(report):
        raise GateError(failures(report), report)
    return report


def comparison_report(
    bench: Bench, command: str, records: Sequence[PassRecord], gates: Sequence[Gate], files: Sequence[Path], **more: Any
) -> Report:
    """Returns the report on "original" and "slim", measured by `ValidateModel`, gates judged.

    Args:
        bench: Holds both models and what was measured.
        command: The command that repeats the run.
        records: What the passes did.
        gates: Bounds on what was measured.
        files: Files of the slim model; none for one in memory.
        **more: Further fields of the report.
    """
    first, second = bench.take("original", Model), bench.take("slim", Model)
    report = Report(
        command=command,
        model=model_record(first, first.path),
        output=model_record(second, files[0] if files else None),
        before=cost_record(recount(bench, first), source_files(first)),
        after=cost_record(recount(bench, second), files),
        latency=latency_report(bench.take("latency", LatencyComparison), "original", "slim"),
        evaluation=evaluation_of(bench.artifacts.get("evaluation")),
        parity=Parity(outputs=output_records(bench.artifacts["differences"])),
        notes=tuple(bench.notes),
        passes=tuple(pass_record(r) for r in records),
        environment=environment(),
        **more,
    )
    return report.model_copy(update={"gates": gate_records(gates, report)})


def check_interface(first: Model, second: Model) -> None:
    for kind, left, right in (
        ("inputs", first.inputs(), second.inputs()),
        ("outputs", first.outputs(), second.outputs()),
    ):
        if [(s.name, s.dtype) for s in left] != [(s.name, s.dtype) for s in right]:
            raise ModelError(
                f"The two models have different {kind}: {_listed(left)} and {_listed(right)}. "
                "Only models with the same inputs and outputs can be compared."
            )


def _listed(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{s.name} ({s.dtype})" for s in specs) or "none"
