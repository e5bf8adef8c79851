"""From a recipe to passes in order, and the three public calls."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from onnxprune.axes import Poly
from onnxprune.core.budget import Budget
from onnxprune.core.errors import GateError, ModelError, OutputError, UsageError
from onnxprune.core.events import EventHandler, ignore_events
from onnxprune.core.gate import Gate
from onnxprune.core.plan import Plan
from onnxprune.core.result import Inspection, Prunable, Result
from onnxprune.core.run import run_passes
from onnxprune.core.stage import Bench, Pass, PassRecord
from onnxprune.cost import COSTS, group_shares, prunable_share, reachable_range
from onnxprune.graph import Model, TensorSpec
from onnxprune.groups import Analysis
from onnxprune.passes.allocate_budget import REPORTED, AllocateBudget
from onnxprune.passes.certify import Certify
from onnxprune.passes.export_model import ExportModel
from onnxprune.passes.find_groups import FindGroups
from onnxprune.passes.find_shapes import FindShapes
from onnxprune.passes.fold_batchnorm import FoldBatchnorm
from onnxprune.passes.fold_constants import FoldConstants
from onnxprune.passes.import_model import ImportModel
from onnxprune.passes.insert_batchnorm import InsertBatchnorm
from onnxprune.passes.open_data import OpenData
from onnxprune.passes.prune_channels import PruneChannels
from onnxprune.passes.retrain import Retrain
from onnxprune.passes.score_channels import ScoreChannels
from onnxprune.passes.validate_model import ValidateModel
from onnxprune.passes.write_report import (
    WriteReport,
    cost_record,
    evaluation_of,
    model_record,
    pass_record,
    recount,
    source_files,
)
from onnxprune.recipe import Recipe
from onnxprune.report.gates import failures, gate_records
from onnxprune.report.graph_svg import graph_svg
from onnxprune.report.records import latency_report, output_records
from onnxprune.report.schema import Parity, Report
from onnxprune.report.write import write_text
from onnxprune.runtime import LatencyComparison, environment, find_feeds, stand_in
from onnxprune.train import TrainOptions

__all__ = ["command_line", "compress", "inspect", "recipe_options", "validate"]

ModelLike = str | os.PathLike[str] | onnx.ModelProto


def compress(recipe: Recipe, on_event: EventHandler = ignore_events) -> Result:
    """Returns the slim model that a recipe asks for; writes it, its report and its plan.

    Args:
        recipe: Every option of the run.
        on_event: Called with progress.

    Raises:
        GateError: when a gate is not met; everything is written, and the result is its `outcome`.
        OnnxPruneError: when the user can act on it; nothing is written then.
    """
    out, report_path = recipe.out_path, recipe.report_path
    for place in (out, report_path):
        if place is not None:
            _check_place(place)
    bench = Bench(on_event=on_event)
    records: list[PassRecord] = []
    options = recipe_options(recipe)
    head, tail = _decide(recipe, options), _produce(recipe, options, records)
    run_passes(head, bench, records)
    if recipe.run_dir is not None:
        recipe.run_dir.mkdir(parents=True, exist_ok=True)
        write_text(recipe.run_dir / "plan.json", bench.take("plan", Plan).to_json())
    run_passes(tail, bench, records)
    report = bench.take("report", Report)
    if recipe.run_dir is not None:
        write_text(recipe.run_dir / "report.json", report.to_json())
    in_memory = not isinstance(recipe.model, Path)
    result = Result(
        path=out,
        plan=bench.take("plan", Plan),
        report=report.model_dump(mode="json"),
        model=bench.take("slim", Model).to_proto() if in_memory else None,
    )
    if failures(report):
        written = f" The model was written to {out} all the same." if out is not None else ""
        raise GateError(failures(report) + written, result)
    return result


def _decide(recipe: Recipe, options: Mapping[str, Any]) -> list[Pass]:
    """The passes up to the plan."""
    return [
        ImportModel(recipe.model),
        OpenData(recipe.data, recipe.eval_data, recipe.image_mean, recipe.image_std),
        FoldConstants(),
        FindShapes(seed=recipe.seed),
        FindGroups(recipe.approximate),
        ScoreChannels(recipe.criterion, recipe.seed),
        AllocateBudget(recipe.budgets, recipe.allocator, recipe.align, options),
    ]


def _produce(recipe: Recipe, options: Mapping[str, Any], records: list[PassRecord]) -> list[Pass]:
    """The passes from the plan to the files."""
    retraining: list[Pass] = []
    if recipe.data is not None and recipe.training_epochs:
        train = TrainOptions(epochs=recipe.training_epochs, batch_size=recipe.batch_size, seed=recipe.seed)
        if recipe.lr is not None:
            train = replace(train, lr=recipe.lr)
        retraining = [InsertBatchnorm(recipe.seed), Retrain(train), FoldBatchnorm()]
    return [
        PruneChannels(),
        Certify(recipe.seed),
        *retraining,
        ValidateModel(recipe.provider, recipe.threads, recipe.seed),
        ExportModel(recipe.out_path),
        WriteReport(
            path=recipe.report_path,
            command=command_line(recipe),
            options=options,
            budgets=recipe.budgets,
            seed=recipe.seed,
            records=records,
            gates=recipe.gates,
        ),
    ]


def recipe_options(recipe: Recipe) -> dict[str, Any]:
    """Returns every option of a recipe as JSON values; what lies in memory by its type."""
    return {name: _plain(getattr(recipe, name)) for name in type(recipe).model_fields}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if isinstance(value, Budget):
        return f"{value.value:g}" if value.relative else f"{value.value:g} {value.resource}"
    return str(value) if isinstance(value, Path | Gate) else f"<{type(value).__name__}>"


def command_line(recipe: Recipe) -> str:
    """Returns the command that repeats a run."""
    words = ["onnxprune", "compress", _plain(recipe.model)]
    for name, info in type(recipe).model_fields.items():
        value = getattr(recipe, name)
        if name == "model" or value is None or value == info.default:
            continue
        if value is True:
            words.append(f"--{name.replace('_', '-')}")
        elif name == "gates":
            words += [word for gate in value for word in ("--gate", str(gate))]
        elif isinstance(value, tuple):
            words += [f"--{name.replace('_', '-')}", ",".join(f"{v:g}" for v in value)]
        else:
            text = _budget_text(value) if isinstance(value, Budget) else str(_plain(value))
            words += [f"--{name.replace('_', '-')}", text]
    return shlex.join(words)


def _budget_text(budget: Budget) -> str:
    if budget.relative:
        return f"{budget.value:g}"
    return f"{budget.value:.0f}B" if budget.resource == "size" else f"{budget.value / 1e6:g}M"


def _check_place(path: Path) -> None:
    """Checks early that a result can be written, so that nobody trains for nothing."""
    folder = path.parent
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; give the name of a file.")
    if not folder.is_dir():
        raise OutputError(f"{path}: the folder {folder} does not exist. Create it, or write elsewhere.")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{path}: the folder {folder} is not writable. Change its permissions, or write elsewhere.")


def inspect(
    model: ModelLike,
    *,
    approximate: bool = False,
    graph: str | os.PathLike[str] | None = None,
    on_event: EventHandler = ignore_events,
) -> Inspection:
    """Returns groups, costs, frozen channels with their reasons, and the reachable range of a model.

    Args:
        model: A path or a ModelProto.
        approximate: As in `Recipe`.
        graph: Where an SVG goes that draws the groups on the model's graph, or None.
        on_event: Called with progress.

    Raises:
        OnnxPruneError: when the model cannot be read or run, or the drawing cannot be written.
    """
    if graph is not None:
        _check_place(Path(graph))
    bench = Bench(on_event=on_event)
    run_passes([ImportModel(_source(model)), FoldConstants(), FindShapes(), FindGroups(approximate)], bench)
    original, folded = bench.take("original", Model), bench.take("model", Model)
    analysis = bench.take("analysis", Analysis)
    costs = {name: COSTS.get(name)().polynomial(analysis, folded) for name in REPORTED}
    reachable = reachable_range(costs, analysis.sizes)
    group_macs = group_shares(costs["flops"], analysis.sizes)
    if graph is not None:
        title = original.path.name if original.path is not None else "model in memory"
        write_text(Path(graph), graph_svg(folded, analysis, title=title, macs_share=group_macs))
    return Inspection(
        model=str(original.path or ""),
        inputs={spec.name: _shape(spec) for spec in original.inputs()},
        outputs={spec.name: _shape(spec) for spec in original.outputs()},
        opset=original.opset,
        macs=reachable["flops"].original,
        params=reachable["params"].original,
        size_bytes=round(reachable["size"].original),
        groups=analysis.groups,
        group_macs=group_macs,
        frozen=analysis.frozen,
        reachable={name: (found.lowest_share, 1.0) for name, found in reachable.items()},
        unknown_ops=dict(analysis.unknown_ops),
        notes=tuple(bench.notes),
        group_params=group_shares(costs["params"], analysis.sizes),
        prunable={name: _prunable(costs[name], analysis, approximate) for name in ("flops", "params")},
    )


def _prunable(cost: Poly, analysis: Analysis, approximate: bool) -> Prunable:
    exact = [group.name for group in analysis.groups if not group.approximate]
    every = [group.name for group in analysis.groups]
    return Prunable(
        exact=prunable_share(cost, analysis.sizes, exact),
        approximate=prunable_share(cost, analysis.sizes, every) if approximate else None,
    )


def _source(model: ModelLike) -> Path | onnx.ModelProto:
    if isinstance(model, str | os.PathLike):
        return Path(model)
    if isinstance(model, onnx.ModelProto):
        return model
    raise UsageError(f"Expected a path or an onnx.ModelProto, found {type(model).__name__}.")


def _shape(spec: TensorSpec) -> tuple[str, tuple[int | str, ...]]:
    kind = spec.dtype.name if spec.dtype is not None else "?"
    return kind, tuple("?" if d is None else d for d in spec.shape or ())


def validate(
    original: ModelLike,
    slim: ModelLike,
    *,
    data: Any = None,
    image_mean: Any = None,
    image_std: Any = None,
    provider: str = "auto",
    threads: int | None = None,
    gates: Sequence[Gate] = (),
    on_event: EventHandler = ignore_events,
) -> Report:
    """Returns how a slim model compares with its original: outputs, accuracy, size, latency.

    Args:
        original: A path or a ModelProto.
        slim: Likewise, with the same inputs and outputs.
        data: Evaluation data: a path or a mapping from names to arrays.
        image_mean: Mean of uint8 images in [0, 1] units.
        image_std: Standard deviation of uint8 images.
        provider: "auto", "cpu" or "cuda".
        threads: Threads per onnxruntime session.
        gates: Bounds on what is measured.
        on_event: Called with progress.

    Raises:
        GateError: when a gate is not met; the report is its `outcome`.
        OnnxPruneError: when a model or the data cannot be used, or the interfaces differ.
    """
    bench = Bench(on_event=on_event)
    run_passes([ImportModel(_source(slim))], bench)
    second = bench.artifacts.pop("original")
    run_passes([ImportModel(_source(original)), OpenData(None, data, image_mean, image_std)], bench)
    first = bench.take("original", Model)
    _check_interface(first, second)
    runnable = stand_in(first).model
    feeds = find_feeds(runnable, runnable.inputs(), rng=np.random.default_rng(0))
    bench.artifacts |= {"slim": second, "feeds": feeds}
    records = run_passes([ValidateModel(provider, threads)], bench)
    report = Report(
        command=shlex.join(["onnxprune", "validate", _plain(_source(original)), _plain(_source(slim))]),
        model=model_record(first, first.path),
        output=model_record(second, second.path),
        before=cost_record(recount(bench, first), source_files(first)),
        after=cost_record(recount(bench, second), source_files(second)),
        latency=latency_report(bench.take("latency", LatencyComparison), "original", "slim"),
        evaluation=evaluation_of(bench.artifacts.get("evaluation")),
        parity=Parity(outputs=output_records(bench.artifacts["differences"])),
        notes=tuple(bench.notes),
        passes=tuple(pass_record(r) for r in records),
        environment=environment(),
    )
    report = report.model_copy(update={"gates": gate_records(gates, report)})
    if failures(report):
        raise GateError(failures(report), report)
    return report


def _check_interface(first: Model, second: Model) -> None:
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
