"""Figures of a run as records of the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from onnxprune.core.budget import Budget
from onnxprune.core.group import FrozenAxis, Group
from onnxprune.core.tiling import TiledLayer, Tiling
from onnxprune.report.schema import (
    Accuracy,
    BudgetRecord,
    DenseRecord,
    Evaluation,
    FrozenRecord,
    GroupRecord,
    LatencyRecord,
    LatencyReport,
    NodeTime,
    OrderRecord,
    OutputRecord,
)

if TYPE_CHECKING:
    from onnxprune.runtime.compare import OutputDifference
    from onnxprune.runtime.evaluate import EvalResult
    from onnxprune.runtime.latency import Latency, LatencyComparison
    from onnxprune.runtime.node_times import NodeSample

__all__ = [
    "budget_record",
    "evaluation_record",
    "frozen_records",
    "group_records",
    "latency_record",
    "latency_report",
    "node_records",
    "open_budget_record",
    "order_records",
    "output_records",
    "tile_map",
]

_UNITS = {"flops": "MACs", "params": "parameters", "size": "bytes", "memory": "bytes", "latency": "us"}


def latency_report(comparison: LatencyComparison, before: str, after: str) -> LatencyReport:
    """Returns the latencies of the models called `before` and `after`.

    `before` is the reference, and what else was timed are other dense forms of it.
    """
    ratio = comparison.ratios[after]
    return LatencyReport(
        provider=comparison.provider,
        threads=comparison.threads,
        batch=comparison.batch,
        before=latency_record(comparison.latencies[before]),
        after=latency_record(comparison.latencies[after]),
        ratio=ratio.value,
        ratio_low=ratio.low,
        ratio_high=ratio.high,
        ratio_iqr=ratio.iqr,
        stands=comparison.stands,
        dense=_dense_record(comparison, before, after),
        noisy=comparison.noisy,
        notes=comparison.notes,
    )


def _dense_record(comparison: LatencyComparison, before: str, after: str) -> DenseRecord | None:
    forms = [name for name in comparison.latencies if name not in (before, after)]
    if not forms:
        return None
    best = comparison.best_form(forms)
    ratio = comparison.against[best][after]
    return DenseRecord(
        best=best,
        ratio=ratio.value,
        ratio_low=ratio.low,
        ratio_high=ratio.high,
        forms={name: latency_record(comparison.latencies[name]) for name in forms},
    )


def latency_record(latency: Latency) -> LatencyRecord:
    """Returns a latency as the report holds it."""
    return LatencyRecord(
        p50_us=latency.p50_us,
        p90_us=latency.p90_us,
        p95_us=latency.p95_us,
        p99_us=latency.p99_us,
        iqr_us=latency.iqr_us,
        mean_us=latency.mean_us,
        n=latency.n,
        quantiles_us=latency.quantiles_us,
    )


def evaluation_record(before: EvalResult, after: EvalResult) -> Evaluation:
    """Returns the results of both models on the same data; `after` holds their agreement."""
    return Evaluation(
        n=after.n,
        labelled=after.labelled,
        before=Accuracy(top1=before.top1, top5=before.top5, custom=before.custom),
        after=Accuracy(top1=after.top1, top5=after.top5, custom=after.custom),
        agreement=after.agreement,
    )


def group_records(
    groups: Iterable[Group],
    kept: Mapping[str, int],
    *,
    alignment: Mapping[str, int] | None = None,
    macs_share: Mapping[str, float] | None = None,
) -> tuple[GroupRecord, ...]:
    """Returns one record per group, in the given order.

    Args:
        groups: The groups.
        kept: Group name → kept channels; a group that is absent keeps all.
        alignment: Group name → the multiple that its count honours.
        macs_share: Group name → MACs of the nodes it runs through, as a share of all.
    """
    return tuple(
        GroupRecord(
            name=g.name,
            size=g.size,
            kept=kept.get(g.name, g.size),
            alignment=(alignment or {}).get(g.name),
            macs_share=(macs_share or {}).get(g.name),
            approximate=g.approximate,
        )
        for g in groups
    )


def frozen_records(frozen: Iterable[FrozenAxis]) -> tuple[FrozenRecord, ...]:
    """Returns one record per frozen axis; members read "initializer[axis]"."""
    return tuple(
        FrozenRecord(
            name=f.name,
            size=f.size,
            members=tuple(f"{m.initializer}[{m.axis}]" for m in f.members),
            reasons=f.reasons,
            chains=f.chains,
        )
        for f in frozen
    )


def node_records(before: Iterable[NodeSample], after: Iterable[NodeSample]) -> tuple[NodeTime, ...]:
    """Returns one record per name and operator, those of `before` first; null where one model has no such node."""
    old = {(node.name, node.op): node.p50_us for node in before}
    new = {(node.name, node.op): node.p50_us for node in after}
    return tuple(
        NodeTime(name=name, op=op, before_us=old.get((name, op)), after_us=new.get((name, op)))
        for name, op in dict.fromkeys((*old, *new))
    )


def tile_map(layer: TiledLayer) -> tuple[str, ...]:
    """Returns a text for each tile of outputs: "#" for a block of inputs that stays, "." for one that goes."""
    kept = (frozenset(blocks) for blocks in layer.kept)
    return tuple("".join("#" if block in blocks else "." for block in range(layer.blocks)) for blocks in kept)


def order_records(tiling: Tiling) -> tuple[OrderRecord, ...]:
    """Returns one record per group whose channels changed places."""
    return tuple(OrderRecord(group=group, order=order) for group, order in tiling.orders.items())


def budget_record(budget: Budget, original: float, reached: float) -> BudgetRecord:
    """Returns a budget with what the original costs and what the slim model reached."""
    limit = budget.limit(original)
    return BudgetRecord(
        resource=budget.resource,
        asked=str(budget),
        unit=_UNITS[budget.resource],
        limit=limit,
        original=original,
        reached=reached,
        met=reached <= limit,
    )


def open_budget_record(budget: Budget, original: float | None) -> BudgetRecord:
    """Returns a budget that was not reached yet; `original` is what the original costs, None where that is unknown."""
    return BudgetRecord(
        resource=budget.resource,
        asked=str(budget),
        unit=_UNITS[budget.resource],
        limit=budget.limit(original) if original is not None else None,
        original=original,
    )


def output_records(differences: Iterable[OutputDifference]) -> tuple[OutputRecord, ...]:
    """Returns one record per compared output."""
    return tuple(
        OutputRecord(name=d.name, max_abs=d.max_abs, max_rel=d.max_rel, cosine=d.cosine, identical=d.identical)
        for d in differences
    )
