"""One-line statements of what a run reached and under which conditions."""

from __future__ import annotations

from onnxprune.report.figures import count_text, percent_text
from onnxprune.report.schema import DenseRecord, LatencyReport, Report

__all__ = ["best_dense", "conditions", "plan_line", "status_lines"]


def conditions(latency: LatencyReport) -> str:
    """Returns provider, threads, batch and samples of a latency figure, and in how many sessions they were taken."""
    provider = latency.provider.removesuffix("ExecutionProvider")
    threads = f"{latency.threads} thread{'' if latency.threads == 1 else 's'}"
    sessions = f" in {latency.stands} sessions" if latency.stands is not None and latency.stands > 1 else ""
    return f"{provider}, {threads}, batch {latency.batch}, n = {latency.after.n}{sessions}"


def best_dense(latency: LatencyReport, dense: DenseRecord) -> tuple[str, float | None]:
    """Returns the original's fastest dense form, and its median time in microseconds."""
    form = dense.forms.get(dense.best)
    return ("as given", latency.before.p50_us) if form is None else (dense.best, form.p50_us)


def plan_line(report: Report) -> str:
    """Returns which plan a run carried out, "" for a run that decided."""
    plan = report.plan
    if plan is None:
        return ""
    made = f"made by onnxprune {plan.tool_version}" if plan.tool_version else "written by hand"
    changed = ", changed by hand since" if plan.tool_version and not plan.as_decided else ""
    other = ", for another file with the same groups" if plan.model_sha256 != report.model.sha256 else ""
    return f"Carried out {plan.file or 'a plan in memory'}, {made}{other}{changed}; nothing was scored or allocated."


def status_lines(report: Report) -> tuple[str, ...]:
    """Returns the lines that stand below the table of figures."""
    lines = [line] if (line := plan_line(report)) else []
    for budget in report.budgets:
        if budget.reached is not None:
            share = f", {budget.reached / budget.original:.3f} of the original" if budget.original else ""
            lines.append(f"Budget {budget.asked}: reached {count_text(budget.reached)} {budget.unit}{share}.")
    if report.certificate is not None and report.certificate.passed:
        c = report.certificate
        sizes = ", ".join(map(str, c.batches))
        lines.append(
            f"Certificate passed: masked original = pruned model to {c.max_rel or 0:.1e} "
            f"(tolerance {c.tolerance:.0e}, batch {sizes})."
        )
    recovery = report.recovery
    if recovery is not None and recovery.error_before and recovery.error_after is not None:
        lines.append(
            f"Recovery from {recovery.samples} samples took the outputs' error from {recovery.error_before:.3g} to "
            f"{recovery.error_after:.3g} before any training ({recovery.held_out} held-out samples)."
        )
    if report.latency is not None:
        spread = ""
        if report.latency.ratio_low is not None and report.latency.ratio_high is not None:
            spread = f"; ratio {report.latency.ratio_low:.2f} to {report.latency.ratio_high:.2f} (95 % interval)"
        lines.append(f"Latency on {conditions(report.latency)}{spread}.")
        lines += _dense_line(report.latency)
    if report.evaluation is not None:
        agreed = report.evaluation.agreement
        end = f"; both models agree on {percent_text(agreed)}" if agreed is not None else ""
        lines.append(f"Evaluated on {report.evaluation.n} samples{end}.")
    return tuple(lines)


def _dense_line(latency: LatencyReport) -> list[str]:
    dense = latency.dense
    if dense is None or dense.ratio is None:
        return []
    form, _ = best_dense(latency, dense)
    ends = ""
    if dense.ratio_low is not None and dense.ratio_high is not None:
        ends = f" ({dense.ratio_low:.2f} to {dense.ratio_high:.2f}, 95 % interval)"
    return [f"Against the original's best dense form ({form}): ratio {dense.ratio:.2f}{ends}."]
