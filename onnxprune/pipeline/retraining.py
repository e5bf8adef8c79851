"""Training a model as it is, from another: what `compress` does after the cut, for any pair of models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from onnxprune.core.errors import GateError, UsageError
from onnxprune.core.events import EventHandler, ignore_events
from onnxprune.core.result import Result
from onnxprune.core.run import run_passes
from onnxprune.core.stage import Bench, Pass, PassRecord
from onnxprune.graph import Model
from onnxprune.passes.export_model import ExportModel
from onnxprune.passes.find_shapes import FindShapes
from onnxprune.passes.fold_batchnorm import FoldBatchnorm
from onnxprune.passes.fold_constants import FoldConstants
from onnxprune.passes.import_model import ImportModel
from onnxprune.passes.insert_batchnorm import InsertBatchnorm
from onnxprune.passes.record_provenance import RecordProvenance
from onnxprune.passes.retrain import Retrain
from onnxprune.passes.write_report import training_record
from onnxprune.pipeline.data import data_pass
from onnxprune.pipeline.failing import Asked, Watch, failures_reported
from onnxprune.pipeline.folder import checkpoint_folder, run_folder
from onnxprune.pipeline.measuring import measuring_pass
from onnxprune.pipeline.validating import check_interface, comparison_report
from onnxprune.pipeline.words import check_place, command_line, recipe_digest, recipe_options
from onnxprune.recipe import Retraining
from onnxprune.report.gates import failures
from onnxprune.report.outputs import beside, write_reports
from onnxprune.report.schema import Report
from onnxprune.train import Samples
from onnxprune.train.bench import take_samples
from onnxprune.train.workers import workers

__all__ = ["retrain"]


def retrain(recipe: Retraining, on_event: EventHandler = ignore_events) -> Result:
    """Returns a model trained further; writes it and its report.

    Args:
        recipe: Every option of the run.
        on_event: Called with progress.

    Raises:
        GateError: when a gate is not met; everything is written, and the result is its `outcome`.
        OnnxPruneError: when the user can act on it; nothing is written then.
    """
    for place in (recipe.out_path, *(beside(recipe.report_path) if recipe.report_path is not None else ())):
        if place is not None:
            check_place(place)
    team, watch = workers(), Watch(on_event)
    bench, records = Bench(on_event=watch), list[PassRecord]()
    student = _student(recipe, on_event)
    run_passes(
        [
            ImportModel(recipe.slim if recipe.teacher is None else recipe.teacher),
            data_pass(recipe),
            FoldConstants(),
            FindShapes(),
        ],
        bench,
        records,
    )
    check_interface(bench.take("original", Model), student)
    _check_aim(recipe, take_samples(bench, "data"))
    bench.artifacts["slim"] = student
    asked = Asked(
        path=recipe.report_path if team.first else None,
        command=command_line("retrain", recipe, ("slim",)),
        options=recipe_options(recipe),
        seed=recipe.seed,
    )
    with failures_reported(asked, bench, records, watch, begun="slim"):
        report = _run(recipe, asked, bench, records, student)
    if report is None:
        return Result(path=None, plan=None, report={}, model=None)
    result = Result(
        path=recipe.out_path,
        plan=None,
        report=report.model_dump(mode="json"),
        model=None if isinstance(recipe.slim, Path) else bench.take("slim", Model).to_proto(),
    )
    if failures(report):
        raise GateError(failures(report), result)
    return result


def _run(recipe: Retraining, asked: Asked, bench: Bench, records: list[PassRecord], student: Model) -> Report | None:
    """Returns the report of a run from its models on; None in a process that does not write."""
    team = workers()
    with (
        team.watched(),
        run_folder(
            recipe.run_path if team.first else None,
            asked.options,
            student.sha256,
            resume=recipe.resume,
            temporary=recipe.run_dir is None,
        ) as folder,
    ):
        run_passes(_train(recipe), bench, records)
        if not team.first:
            return None
        run_passes(_finish(recipe, student.sha256), bench, records)
        report = comparison_report(
            bench,
            asked.command,
            records,
            recipe.gates,
            bench.take("files", tuple),
            options=asked.options,
            seed=asked.seed,
            training=training_record(bench),
        )
        if asked.path is not None:
            write_reports(report, asked.path)
        if folder is not None:
            folder.write("report.json", report.to_json())
    return report


def _student(recipe: Retraining, on_event: EventHandler) -> Model:
    """Returns the model to train, folded as `compress` folds."""
    bench = Bench(on_event=on_event)
    run_passes([ImportModel(recipe.slim), FoldConstants(), FindShapes()], bench)
    return bench.take("model", Model)


def _check_aim(recipe: Retraining, data: Samples) -> None:
    """Checks that there is something to learn from: a teacher, labels, or a loss that needs neither."""
    if recipe.teacher is None and not data.labelled and not recipe.loss:
        raise UsageError("There is nothing to learn from: give --teacher, or data with labels.")


def _train(recipe: Retraining) -> list[Pass]:
    options = recipe.train_options()
    if recipe.teacher is None:
        # the model would only be held to where it stands
        options = replace(options, distill_weight=0.0)
    norms: list[Pass] = [InsertBatchnorm(recipe.seed, everywhere=True)] if recipe.batchnorm else []
    checkpoint = checkpoint_folder(recipe.run_path, 1)
    return [*norms, Retrain(options, checkpoint=checkpoint, resume=recipe.resume), FoldBatchnorm()]


def _finish(recipe: Retraining, source: str) -> list[Pass]:
    return [
        measuring_pass(recipe),
        RecordProvenance("retrain", recipe_digest(recipe), source=source),
        ExportModel(recipe.out_path),
    ]
