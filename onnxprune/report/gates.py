"""Gates against the figures of a report."""

from __future__ import annotations

import math
from collections.abc import Iterable
from operator import itemgetter

from onnxprune.core.gate import Gate
from onnxprune.report.schema import GateRecord, Report

__all__ = ["failures", "found_text", "gate_records", "margin"]


def gate_records(gates: Iterable[Gate], report: Report) -> tuple[GateRecord, ...]:
    """Returns one record per gate: what was found, and whether it passes."""
    worst = _worst_outputs(report)
    values = _values(report) | {metric: value for metric, (value, _) in worst.items()}
    return tuple(
        GateRecord(
            gate=str(gate),
            metric=gate.metric,
            bound=gate.bound,
            found=values.get(gate.metric),
            where=worst[gate.metric][1] if gate.metric in worst else "",
            passed=gate.holds(values.get(gate.metric)),
        )
        for gate in gates
    )


def found_text(gate: GateRecord) -> str:
    """Returns what was found for a gate, and at which output."""
    if gate.where:
        return f"{'infinite' if gate.found is None else f'{gate.found:.4g}'} at output '{gate.where}'"
    return "not measured" if gate.found is None else f"{gate.found:.4g}"


def margin(gate: GateRecord) -> float | None:
    """Returns how far what was found lies from the bound of a gate; None where there is no number."""
    return None if gate.found is None else abs(gate.found - gate.bound)


def failures(report: Report) -> str:
    """Returns one sentence on the gates that were not met, "" when all were."""
    failed = [gate for gate in report.gates if not gate.passed]
    if not failed:
        return ""
    return f"{len(failed)} of {len(report.gates)} gates not met: {'; '.join(map(_shortfall, failed))}."


def _shortfall(gate: GateRecord) -> str:
    off = margin(gate)
    if off is None:
        return f"{gate.gate} ({found_text(gate)})"
    return f"{gate.gate} (found {found_text(gate)}, off by {off:.4g})"


def _worst_outputs(report: Report) -> dict[str, tuple[float, str]]:
    """Returns metric of outputs → what is furthest off, and the output at which."""
    outputs = report.parity.outputs if report.parity is not None else ()
    if not outputs:
        return {}
    return {
        "max_abs": max(((_far(o.max_abs), o.name) for o in outputs), key=itemgetter(0)),
        "max_rel": max(((_far(o.max_rel), o.name) for o in outputs), key=itemgetter(0)),
        "cosine": min(((-1.0 if o.cosine is None else o.cosine, o.name) for o in outputs), key=itemgetter(0)),
    }


def _far(difference: float | None) -> float:
    return math.inf if difference is None else difference


def _values(report: Report) -> dict[str, float | None]:
    values: dict[str, float | None] = {}
    before, after, latency, evaluation = report.before, report.after, report.latency, report.evaluation
    if before is not None and after is not None:
        values["macs_ratio"] = _over(after.macs, before.macs)
        values["params_ratio"] = _over(after.params, before.params)
        values["size_ratio"] = _over(after.file_bytes, before.file_bytes)
    if latency is not None:
        values["latency_ratio"] = latency.ratio
        values["speedup"] = _over(1.0, latency.ratio)
        values["p50_ms"] = _over(latency.after.p50_us, 1e3)
        values["p95_ms"] = _over(latency.after.p95_us, 1e3)
        values["p99_ms"] = _over(latency.after.p99_us, 1e3)
    if evaluation is not None:
        old, new = evaluation.before, evaluation.after
        values["metric"] = new.custom
        values["metric_drop"] = None if old.custom is None or new.custom is None else old.custom - new.custom
        values["agreement"] = _percent(evaluation.agreement)
        values["top1"], values["top5"] = _percent(new.top1), _percent(new.top5)
        values["top1_drop"], values["top5_drop"] = _drop(old.top1, new.top1), _drop(old.top5, new.top5)
    return values


def _over(value: float | None, base: float | None) -> float | None:
    return None if value is None or not base else value / base


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _drop(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else 100 * (before - after)
