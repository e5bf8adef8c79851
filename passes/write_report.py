"""write_report: everything that was asked, done, measured and noticed, as report.json, a page and a text."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnxprune.core.allocation import Allocation
from onnxprune.core.budget import Budget
from onnxprune.core.certificate import Certificate
from onnxprune.core.gate import Gate
from onnxprune.core.n_of_m_layer import NOfMLayer
from onnxprune.core.plan import Plan
from onnxprune.core.stage import Bench, Pass, PassRecord
from onnxprune.core.tiling import TiledLayer
from onnxprune.cost import group_shares
from onnxprune.graph import Model, TensorSpec
from onnxprune.groups import Analysis
from onnxprune.passes.count_original import recount
from onnxprune.passes.use_block_sparse import LayerForm
from onnxprune.passes.validate_model import NodeProfile
from onnxprune.recover import RecoveryRecord
from onnxprune.report import schema
from onnxprune.report.gates import gate_records
from onnxprune.report.outputs import write_reports
from onnxprune.report.records import (
    budget_record,
    evaluation_record,
    frozen_records,
    group_records,
    latency_report,
    node_records,
    order_records,
    output_records,
    tile_map,
)
from onnxprune.report.schema import Report
from onnxprune.runtime import EvalResult, LatencyComparison, environment
from onnxprune.train.bench import take_samples
from onnxprune.train.record import TrainRecord

__all__ = [
    "WriteReport",
    "certificate_record",
    "cost_record",
    "evaluation_of",
    "file_hash",
    "latency_by_batch",
    "model_record",
    "node_times",
    "pass_record",
    "recovery_record",
    "search_record",
    "source_files",
    "training_record",
]

NO_DATA = (
    "No training data was given: channels were chosen by their weights alone and nothing was retrained, so expect a "
    "loss of accuracy that grows with what was removed. Give --data to retrain."
)
NO_DATA_WITH_PLAN = (
    "No training data was given: what the plan drops was removed and nothing was retrained, so expect a loss of "
    "accuracy that grows with it. Give --data to retrain."
)
NO_EPOCHS = "Retraining was switched off (--epochs 0): expect a loss of accuracy, even after recovery."


@dataclass(frozen=True)
class WriteReport(Pass):
    """Gives "report"; writes it where a path is given.

    Attributes:
        path: Where report.json goes, with HTML and Markdown beside it, or None.
        command: The command line or call that can be run again.
        options: Every option of the run.
        budgets: What was asked.
        seed: Seed of the run.
        records: Records of the passes so far; the manager's list, which it goes on filling.
        gates: Bounds on what was measured.
        plan: The plan that was carried out; None for a run that decided.
    """

    path: Path | None
    command: str
    options: Mapping[str, Any]
    budgets: Sequence[Budget]
    seed: int
    records: Sequence[PassRecord] = field(default_factory=list)
    gates: Sequence[Gate] = ()
    plan: schema.PlanRecord | None = None

    name = "write_report"
    needs = (
        "original",
        "original_costs",
        "slim",
        "analysis",
        "allocation",
        "plan",
        "certificate",
        "latency",
        "differences",
        "files",
    )
    gives = ("report",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Writes.

        Raises:
            OutputError: when the place cannot be written.
        """
        report = self._report(bench)
        report = report.model_copy(update={"gates": gate_records(self.gates, report)})
        if self.path is not None:
            write_reports(report, self.path)
        return {"report": report}

    def _report(self, bench: Bench) -> Report:
        original, slim = bench.take("original", Model), bench.take("slim", Model)
        analysis, plan = bench.take("analysis", Analysis), bench.take("plan", Plan)
        before, after = dict(bench.take("original_costs", dict)), recount(bench, slim)
        latency = bench.take("latency", LatencyComparison)
        before["latency"], after["latency"] = (latency.latencies[name].p50_us for name in ("original", "slim"))
        files = bench.take("files", tuple)
        results = bench.artifacts.get("evaluation")
        return Report(
            command=self.command,
            options=dict(self.options),
            seed=self.seed,
            model=model_record(original, original.path),
            output=model_record(slim, files[0] if files else None, file_hash(files[0]) if files else ""),
            budgets=tuple(budget_record(b, before[b.resource], after[b.resource]) for b in self.budgets),
            before=cost_record(before, source_files(original)),
            after=cost_record(after, files),
            latency=latency_report(latency, "original", "slim"),
            latency_by_batch=latency_by_batch(bench),
            node_times=node_times(bench),
            evaluation=evaluation_of(results),
            groups=group_records(
                analysis.groups,
                {name: len(kept) for name, kept in plan.kept.items()},
                alignment=bench.take("allocation", Allocation).alignment,
                macs_share=group_shares(analysis.macs, analysis.sizes),
            ),
            tiles=tuple(_tile_record(form) for form in bench.find("layer_forms", tuple) or ()),
            orders=order_records(plan.tiling),
            frozen=frozen_records(analysis.frozen),
            unknown_ops=dict(analysis.unknown_ops),
            certificate=certificate_record(bench.take("certificate", Certificate)),
            parity=schema.Parity(outputs=output_records(bench.artifacts["differences"])),
            recovery=recovery_record(bench),
            search=search_record(bench),
            training=training_record(bench),
            plan=self.plan,
            no_training=self._no_training(bench),
            notes=tuple(bench.notes),
            passes=tuple(pass_record(r) for r in self.records),
            environment=environment(),
        )

    def _no_training(self, bench: Bench) -> str:
        if "training" in bench.artifacts:
            return ""
        if "data" in bench.artifacts:
            return NO_EPOCHS
        return NO_DATA if self.plan is None else NO_DATA_WITH_PLAN


def model_record(model: Model, path: Path | None, sha256: str | None = None) -> schema.ModelRecord:
    """Returns the report's record of a model; `sha256` where it is not the source file's."""
    return schema.ModelRecord(
        file=str(path) if path is not None else "",
        sha256=model.sha256 if sha256 is None else sha256,
        opset=model.opset,
        inputs=tuple(_tensor(spec) for spec in model.inputs()),
        outputs=tuple(_tensor(spec) for spec in model.outputs()),
    )


def _tensor(spec: TensorSpec) -> schema.TensorRecord:
    return schema.TensorRecord(
        name=spec.name, dtype=spec.dtype.name if spec.dtype is not None else None, shape=spec.shape
    )


def source_files(model: Model) -> tuple[Path, ...]:
    """Returns the files a model came from; none for a model in memory."""
    return (model.path, *model.data_files) if model.path is not None else ()


def file_hash(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cost_record(costs: Mapping[str, float], files: Sequence[Path]) -> schema.Cost:
    """Returns the report's record of what a model costs."""
    size = sum(path.stat().st_size for path in files) if files else None
    return schema.Cost(macs=costs["flops"], params=costs["params"], file_bytes=size)


def evaluation_of(results: Mapping[str, EvalResult] | None) -> schema.Evaluation | None:
    """Returns the report's record of an evaluation, or None where there was none."""
    return evaluation_record(results["original"], results["slim"]) if results is not None else None


def latency_by_batch(bench: Bench) -> tuple[schema.LatencyReport, ...]:
    """Returns the report's records of latency at the batch sizes that were asked for."""
    found = bench.find("latency_by_batch", tuple) or ()
    return tuple(latency_report(comparison, "original", "slim") for comparison in found)


def node_times(bench: Bench) -> schema.NodeTimes | None:
    """Returns the report's record of the time by node, or None where it was not asked for."""
    profile = bench.find("node_times", NodeProfile)
    if profile is None:
        return None
    return schema.NodeTimes(
        provider=profile.provider,
        threads=profile.threads,
        batch=profile.batch,
        runs=profile.runs,
        nodes=node_records(profile.nodes["original"], profile.nodes["slim"]),
    )


def certificate_record(certificate: Certificate) -> schema.Certificate:
    """Returns the report's record of a certificate."""
    return schema.Certificate(
        batches=tuple(dict.fromkeys(row.batch for row in certificate.rows)),
        max_rel=certificate.worst,
        tolerance=certificate.tolerance,
        passed=certificate.worst <= certificate.tolerance,
    )


def _tile_record(form: LayerForm) -> schema.TileRecord:
    layer, ratio = form.layer, form.ratios.get(form.form)
    if isinstance(layer, NOfMLayer):
        cut = {"block": 1, "tile": 1, "blocks": layer.inputs, "kept": layer.kept_inputs}
        pattern = f"{layer.n}:{layer.m}"
    else:
        cut = {"block": layer.block, "tile": layer.tile, "blocks": layer.blocks, "kept": layer.kept_blocks}
        pattern = ""
    return schema.TileRecord(
        node=layer.node,
        weight=layer.weight,
        operator=layer.operator,
        inputs=layer.inputs,
        outputs=layer.outputs,
        **cut,
        pattern=pattern,
        form=form.form,
        ratio=ratio.value if ratio is not None else None,
        ratio_low=ratio.low if ratio is not None else None,
        ratio_high=ratio.high if ratio is not None else None,
        forms=tuple(
            schema.FormRecord(form=name, ratio=each.value, ratio_low=each.low, ratio_high=each.high, ratio_iqr=each.iqr)
            for name, each in form.ratios.items()
        ),
        reason=form.reason,
        map=tile_map(layer) if isinstance(layer, TiledLayer) else (),
    )


def search_record(bench: Bench) -> schema.Search | None:
    """Returns the report's record of how keep ratios were learned, or None where they were not."""
    allocations = [bench.find(name, Allocation) for name in ("allocation", "tile_allocation")]
    record = next((found.search for found in allocations if found is not None and found.search is not None), None)
    if record is None:
        return None
    points = (
        schema.SearchPoint(
            step=point.step,
            loss=point.loss,
            used=dict(point.used),
            undecided=point.undecided,
            ratios={name: round(ratio, 4) for name, ratio in point.ratios.items()},
        )
        for point in record.points
    )
    return schema.Search(steps=record.steps, seconds=record.seconds, points=tuple(points))


def recovery_record(bench: Bench) -> schema.Recovery | None:
    """Returns the report's record of what was fitted before training, or None where nothing was."""
    record = bench.find("recovery", RecoveryRecord)
    if record is None or not record.stages:
        return None
    return schema.Recovery(
        samples=record.samples,
        held_out=record.held_out,
        error_before=record.error_before,
        error_after=record.error_after,
        stages=tuple(
            schema.RecoveryStage(
                method=stage.method,
                kept=stage.kept,
                error_before=stage.error_before,
                error_after=stage.error_after,
                layers_changed=stage.changed,
                seconds=stage.seconds,
                reason=stage.reason,
            )
            for stage in record.stages
        ),
        skipped=dict(record.skipped),
    )


def training_record(bench: Bench) -> schema.Training | None:
    """Returns the report's record of retraining, or None where there was none."""
    record = bench.find("training", TrainRecord)
    if record is None:
        return None
    return schema.Training(
        epochs=tuple(
            schema.Epoch(epoch=e.epoch, phase=e.phase, loss=e.loss, metric=e.metric, lr=e.lr, seconds=e.seconds)
            for e in record.epochs
        ),
        kept_epoch=record.kept_epoch,
        stopped_early=record.stopped_early,
        batch_size=record.batch_size,
        processes=record.processes,
        precision=record.precision,
        device=record.device,
        metric_name=record.metric_name,
        samples=len(take_samples(bench, "data")),
        seconds=sum(e.seconds for e in record.epochs),
    )


def pass_record(record: PassRecord) -> schema.PassRecord:
    """Returns the report's record of a pass."""
    return schema.PassRecord(
        name=record.name, seconds=record.seconds, nodes_before=record.nodes_before, nodes_after=record.nodes_after
    )
