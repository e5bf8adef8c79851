"""Pruning to a budget: the passes of one run, in one or several phases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnxprune.core.allocation import Allocation
from onnxprune.core.decision import Decision
from onnxprune.core.errors import GateError
from onnxprune.core.events import EventHandler, ignore_events
from onnxprune.core.phases import Phase
from onnxprune.core.plan import Plan
from onnxprune.core.result import Result
from onnxprune.core.run import run_passes
from onnxprune.core.stage import Bench, Pass, PassRecord
from onnxprune.graph import Model
from onnxprune.passes.carry_weights import CarryWeights
from onnxprune.passes.certify import Certify
from onnxprune.passes.check_tiles import CheckTiles
from onnxprune.passes.export_model import ExportModel
from onnxprune.passes.fold_batchnorm import FoldBatchnorm
from onnxprune.passes.import_model import ImportModel
from onnxprune.passes.insert_batchnorm import InsertBatchnorm
from onnxprune.passes.keep_everything import KeepEverything
from onnxprune.passes.measure_cut import MeasureCut
from onnxprune.passes.prune_channels import PruneChannels
from onnxprune.passes.prune_tiles import PruneTiles
from onnxprune.passes.recall_decision import RecallDecision
from onnxprune.passes.record_provenance import RecordProvenance
from onnxprune.passes.recover_outputs import RecoverOutputs
from onnxprune.passes.retrain import Retrain
from onnxprune.passes.share_plan import SharePlan
from onnxprune.passes.use_block_sparse import UseBlockSparse
from onnxprune.passes.write_report import WriteReport
from onnxprune.pipeline.deciding import analysing, choosing_tiles, deciding
from onnxprune.pipeline.failing import Asked, Watch, failures_reported
from onnxprune.pipeline.folder import RunFolder, checkpoint_folder, run_folder
from onnxprune.pipeline.following import Followed, followed
from onnxprune.pipeline.measuring import measuring_pass
from onnxprune.pipeline.words import (
    budgets_text,
    check_place,
    command_line,
    deciding_options,
    recipe_digest,
    recipe_options,
)
from onnxprune.recipe import Recipe
from onnxprune.recover import RecoverOptions
from onnxprune.report.gates import failures
from onnxprune.report.outputs import beside
from onnxprune.report.schema import Report
from onnxprune.train.workers import workers

__all__ = ["compress"]


def compress(recipe: Recipe, on_event: EventHandler = ignore_events, shared: Mapping[str, Any] | None = None) -> Result:
    """Returns the slim model that a recipe asks for; writes it, its report and its plan.

    Of several processes that train together, the first writes; the others return a result
    without a report. A run that fails once the model is analysed leaves a report, too.

    Args:
        recipe: Every option of the run.
        on_event: Called with progress.
        shared: What was found before for several recipes of one model: artifacts by name, "notes" among them.

    Raises:
        GateError: when a gate is not met; everything is written, and the result is its `outcome`.
        OnnxPruneError: when the user can act on it; nothing is written then.
    """
    for place in (recipe.out_path, *(beside(recipe.report_path) if recipe.report_path is not None else ())):
        if place is not None:
            check_place(place)
    planned = followed(recipe)
    command = command_line("compress", recipe, ("model",)) if planned is None else planned.command
    recipe = recipe if planned is None else planned.recipe
    team, watch = workers(), Watch(on_event)
    given = dict(shared or {})
    bench, records = Bench(on_event=watch, notes=list(given.pop("notes", ()))), list[PassRecord]()
    bench.artifacts |= given
    options = recipe_options(recipe)
    asked = Asked(
        path=recipe.report_path if team.first else None,
        command=command,
        options=options,
        seed=recipe.seed,
        budgets=recipe.budgets,
        plan=None if planned is None else planned.record(),
    )
    with failures_reported(asked, bench, records, watch, begun="analysis"):
        if not given:
            match = [] if planned is None else [planned.match()]
            run_passes([ImportModel(recipe.model), *match], bench, records)
        report = _run(recipe, asked, bench, records, planned, known=bool(given))
    if report is None:
        return Result(path=None, plan=bench.take("plan", Plan), report={}, model=None)
    return _result(recipe, bench, report)


def _run(
    recipe: Recipe, asked: Asked, bench: Bench, records: list[PassRecord], planned: Followed | None, *, known: bool
) -> Report | None:
    """Returns the report of a run from its model on; None in a process that does not write.

    Args:
        recipe: Every option of the run.
        asked: The same for the report.
        bench: Holds the model.
        records: Filled as the passes finish.
        planned: The plan to carry out; None where the run decides.
        known: Whether the model is analysed already.
    """
    team, options = workers(), asked.options
    with (
        team.watched(),
        run_folder(
            recipe.run_path if team.first else None,
            # a run goes on with the plan that it began with, wherever that lies
            options if planned is None else {**options, "plan": planned.plan.digest()},
            bench.take("original", Model).sha256,
            resume=recipe.resume,
            temporary=recipe.run_dir is None,
        ) as folder,
    ):
        run_passes([*([] if known else analysing(recipe)), *_train_whole(recipe)], bench, records)
        for phase in recipe.turns:
            # what a search left in the weights is not kept with its decision: it is done again, to the same end
            decided = folder.decision(phase.number) if folder is not None and not recipe.carries else None
            decided_by = deciding_options(recipe)
            choose: list[Pass]
            if planned is not None:
                choose = [planned.use()]
            else:
                there = set(bench.artifacts)
                choose = [RecallDecision(decided)] if decided else deciding(recipe, phase, decided_by, there)
            run_passes([*_carry(recipe, phase), *choose, *_cut(recipe)], bench, records)
            _keep_decision(folder, phase, bench)
            if recipe.pattern == "channels":
                run_passes(_recover(recipe), bench, records)
            else:
                if planned is not None:
                    choose = [CheckTiles(planned.source)] if planned.plan.tiling.layers else []
                else:
                    tiled = bool(bench.take("plan", Plan).tiling.layers)
                    choose = [] if tiled else choosing_tiles(recipe, phase, decided_by)
                run_passes([*choose, PruneTiles(recipe.seed), *_recover(recipe)], bench, records)
                _keep_decision(folder, phase, bench)
            run_passes(_retrain(recipe, phase), bench, records)
        if not team.first:
            return None
        digest = recipe_digest(recipe, None if planned is None else bench.take("plan", Plan))
        run_passes(_finish(recipe, asked, records, digest), bench, records)
        report = bench.take("report", Report)
        if folder is not None:
            folder.write("report.json", report.to_json())
    return report


def _keep_decision(folder: RunFolder | None, phase: Phase, bench: Bench) -> None:
    """Writes down what was decided, for a run that goes on."""
    plan, allocation = bench.take("plan", Plan), bench.take("allocation", Allocation)
    if folder is not None:
        folder.write("plan.json", plan.to_json())
        folder.decide(phase.number, Decision(plan, allocation, tuple(bench.notes)))


def _result(recipe: Recipe, bench: Bench, report: Report) -> Result:
    result = Result(
        path=recipe.out_path,
        plan=bench.take("plan", Plan),
        report=report.model_dump(mode="json"),
        model=None if isinstance(recipe.model, Path) else bench.take("slim", Model).to_proto(),
    )
    if failures(report):
        written = f" The model was written to {recipe.out_path} all the same." if recipe.out_path is not None else ""
        raise GateError(failures(report) + written, result)
    return result


def _train_whole(recipe: Recipe) -> list[Pass]:
    """The passes that train the model before the first cut."""
    if not recipe.dense_epochs:
        return []
    phase = Phase(0, recipe.phases, recipe.iteration, recipe.dense_epochs)
    norms: list[Pass] = [InsertBatchnorm(recipe.seed, everywhere=True)] if recipe.batchnorm else []
    options = recipe.train_options(recipe.dense_epochs)
    checkpoint = checkpoint_folder(recipe.run_path, 0)
    return [KeepEverything(), *norms, Retrain(options, phase, checkpoint, recipe.resume), FoldBatchnorm()]


def _carry(recipe: Recipe, phase: Phase) -> list[Pass]:
    """The passes that go on from the weights that were trained before."""
    return [CarryWeights()] if phase.number > 1 or recipe.dense_epochs else []


def _cut(recipe: Recipe) -> list[Pass]:
    """The passes that carry out a plan."""
    return [*([SharePlan()] if workers().size > 1 else []), PruneChannels(), Certify(recipe.seed)]


def _recover(recipe: Recipe) -> list[Pass]:
    """The passes that give accuracy back at once, before training begins."""
    if recipe.data is None or recipe.carries:
        return []
    recovery: list[Pass] = [RecoverOutputs(RecoverOptions(seed=recipe.seed))] if recipe.recover else []
    return [*([MeasureCut()] if recipe.training_epochs else []), *recovery]


def _retrain(recipe: Recipe, phase: Phase) -> list[Pass]:
    """The passes that train what is left."""
    if recipe.data is None or not recipe.training_epochs:
        return []
    # weights that learned under masks need no more than that their own statistics are kept up
    norms: list[Pass] = [InsertBatchnorm(recipe.seed, everywhere=recipe.carries)] if recipe.batchnorm else []
    return [
        *([MeasureCut()] if recipe.carries else []),
        *norms,
        Retrain(
            recipe.train_options(phase.epochs),
            phase=phase,
            checkpoint=checkpoint_folder(recipe.run_path, phase.number),
            resume=recipe.resume,
        ),
        FoldBatchnorm(),
    ]


def _finish(recipe: Recipe, asked: Asked, records: list[PassRecord], digest: str) -> list[Pass]:
    """The passes from the last trained weights to the files; `digest` is what the recipe is known by."""
    packing: list[Pass] = (
        []
        if recipe.pattern == "channels"
        else [UseBlockSparse(recipe.provider, recipe.threads, recipe.seed, recipe.block_sparse)]
    )
    return [
        *packing,
        measuring_pass(recipe),
        RecordProvenance("compress", digest, budgets_text(recipe.budgets)),
        ExportModel(recipe.out_path),
        WriteReport(
            path=asked.path,
            command=asked.command,
            options=asked.options,
            budgets=recipe.budgets,
            seed=recipe.seed,
            records=records,
            gates=recipe.gates,
            plan=asked.plan,
        ),
    ]
