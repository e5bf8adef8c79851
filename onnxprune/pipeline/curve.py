"""Several budgets in one run: what all points share is done once."""

from __future__ import annotations

from typing import Any

from onnxprune.core.errors import GateError
from onnxprune.core.events import EventHandler, ignore_events
from onnxprune.core.result import Result
from onnxprune.core.run import run_passes
from onnxprune.core.stage import Bench, Pass
from onnxprune.passes.import_model import ImportModel
from onnxprune.passes.learn_latency import LearnLatency
from onnxprune.passes.score_channels import ScoreChannels
from onnxprune.pipeline.compressing import compress
from onnxprune.pipeline.deciding import analysing
from onnxprune.pipeline.words import check_place
from onnxprune.recipe.curve import Curve
from onnxprune.report import schema
from onnxprune.report.outputs import write_curves
from onnxprune.report.schema import Report
from onnxprune.train.workers import workers

__all__ = ["trace"]


def trace(curve: Curve, on_event: EventHandler = ignore_events) -> Result:
    """Returns the slim models of all points, and the curve as their report; writes them.

    Groups, scores and latency tables are found once. A point that fails ends the run; the points before
    it stay written.

    Args:
        curve: The recipes.
        on_event: Called with progress.

    Raises:
        GateError: when a gate is not met at some point; everything is written, and the result is its `outcome`.
        OnnxPruneError: when the user can act on it.
    """
    if curve.report is not None:
        check_place(curve.report)
    for recipe in curve.recipes:
        for place in (recipe.out_path, recipe.report_path):
            if place is not None:
                check_place(place)
    shared = _shared(curve, on_event)
    results, missed = list[Result](), list[str]()
    for recipe in curve.recipes:
        try:
            results.append(compress(recipe, on_event, shared))
        except GateError as error:
            if not isinstance(error.outcome, Result):
                raise
            results.append(error.outcome)
            missed.append(str(error))
    if not workers().first:
        return Result(path=None, plan=None, report={}, points=tuple(results))
    record = schema.Curve(points=tuple(_point(result) for result in results))
    if curve.report is not None:
        write_curves(record, curve.report)
    result = Result(path=None, plan=None, report=record.model_dump(mode="json"), points=tuple(results))
    if missed:
        raise GateError(" ".join(missed), result)
    return result


def _shared(curve: Curve, on_event: EventHandler) -> dict[str, Any]:
    """What every point begins with, by name."""
    first, bench = curve.recipes[0], Bench(on_event=on_event)
    passes: list[Pass] = [ImportModel(first.model), *analysing(first)]
    if not first.dense_epochs:
        passes.append(ScoreChannels(first.criterion, first.seed, first.criterion_reduce, first.criterion_normalize))
    if any(recipe.latency for recipe in curve.recipes):
        passes.append(LearnLatency(first.align, first.provider, first.threads, first.seed))
    run_passes(passes, bench)
    return {**bench.artifacts, "notes": tuple(bench.notes)}


def _point(result: Result) -> schema.CurvePoint:
    report = Report.model_validate(result.report)
    return schema.CurvePoint(
        file=str(result.path or ""),
        budgets=report.budgets,
        before=report.before,
        after=report.after,
        latency=report.latency,
        evaluation=report.evaluation,
        gates=report.gates,
    )
