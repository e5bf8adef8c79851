"""Two models side by side: outputs, accuracy, size, latency."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onnxprune.core.certificate import Certificate
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
from onnxprune.passes.write_report import (
    certificate_record,
    cost_record,
    evaluation_of,
    latency_by_batch,
    model_record,
    node_times,
    pass_record,
    source_files,
)
from onnxprune.pipeline.failing import Asked, Watch, failures_reported
from onnxprune.pipeline.replaying import held_to_plan
from onnxprune.pipeline.words import check_place, command_line, recipe_options
from onnxprune.recipe import Comparison
from onnxprune.report.gates import failures, gate_records
from onnxprune.report.outputs import beside, write_reports
from onnxprune.report.records import latency_report, output_records
from onnxprune.report.schema import Parity, Report
from onnxprune.runtime import LatencyComparison, environment, find_feeds, stand_in

__all__ = ["check_interface", "comparison_report", "validate"]


def validate(comparison: Comparison, on_event: EventHandler = ignore_events) -> Report:
    """Returns how a slim model compares with its original: outputs, accuracy, size, latency; writes it where asked.

    Args:
        comparison: Every option.
        on_event: Called with progress.

    Raises:
        GateError: when a gate is not met; the report is its `outcome`.
        CertificateError: when a plan is given, and the slim model does not compute what it leaves of the original.
        OnnxPruneError: when a model or the data cannot be used, the interfaces differ, or the report cannot be
            written.
    """
    if comparison.report is not None:
        for place in beside(comparison.report):
            check_place(place)
    watch = Watch(on_event)
    bench, records = Bench(on_event=watch), list[PassRecord]()
    run_passes([ImportModel(comparison.slim)], bench)
    second = bench.artifacts.pop("original")
    opened = OpenData(
        eval_data=comparison.data,
        image_mean=comparison.image_mean,
        image_std=comparison.image_std,
        image_size=comparison.image_size,
        skip_corrupt=comparison.skip_corrupt,
        labels="any" if comparison.metric else "classes",
    )
    run_passes([ImportModel(comparison.original), opened], bench)
    first = bench.take("original", Model)
    check_interface(first, second)
    runnable = stand_in(first).model
    held = {}
    if comparison.plan is not None:
        held["certificate"] = held_to_plan(first, bench.take("model", Model), second, comparison.plan, watch)
    feeds = find_feeds(runnable, runnable.inputs(), rng=np.random.default_rng(0))
    bench.artifacts |= {"slim": second, "feeds": feeds, **held}
    asked = Asked(
        path=comparison.report,
        command=command_line("validate", comparison, ("original", "slim")),
        options=recipe_options(comparison),
    )
    with failures_reported(asked, bench, records, watch, begun="slim"):
        measure = ValidateModel(
            comparison.provider,
            comparison.threads,
            metric=comparison.metric or "",
            batches=comparison.batches,
            profile=comparison.profile,
            dense_forms=comparison.dense_forms,
        )
        run_passes([measure], bench, records)
        files = source_files(second)
        report = comparison_report(bench, asked.command, records, comparison.gates, files, options=asked.options)
    if comparison.report is not None:
        write_reports(report, comparison.report)
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
    certificate = bench.find("certificate", Certificate)
    report = Report(
        command=command,
        model=model_record(first, first.path),
        output=model_record(second, files[0] if files else None),
        before=cost_record(recount(bench, first), source_files(first)),
        after=cost_record(recount(bench, second), files),
        latency=latency_report(bench.take("latency", LatencyComparison), "original", "slim"),
        latency_by_batch=latency_by_batch(bench),
        node_times=node_times(bench),
        evaluation=evaluation_of(bench.artifacts.get("evaluation")),
        certificate=None if certificate is None else certificate_record(certificate),
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
