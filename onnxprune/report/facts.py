"""What page and pull request say of a run: its figures before and after, and sentences on what they are worth.

Correctness of the two models on a sample differs only where their answers do, so that of n samples with the
share d of answers that differ, the difference of the accuracies has a variance of at most d / n. Twice the
root of that, 1.96 √(d / n), is how far chance alone takes the difference in 95 % of such samples of data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from onnxprune.report.page import numbers
from onnxprune.report.schema import Accuracy, Cost, CurvePoint, Evaluation, LatencyReport, Report
from onnxprune.report.status import best_dense

__all__ = [
    "Row",
    "accuracy_missing",
    "accuracy_name",
    "accuracy_of",
    "before_and_after",
    "bounds_words",
    "chance_points",
    "is_unclear",
    "latency_missing",
    "model_names",
    "speed_words",
    "status_words",
    "verdict",
]

_LEAST = 1e-9
"""No ratio of two latencies that were measured lies below this."""
_VAGUE = 1.25
"""Where the interval of a ratio is wider than this factor, its ends are said and not its middle."""


@dataclass(frozen=True)
class Row:
    """A figure before and after; `missing` says why there is none."""

    name: str
    before: str = "–"
    after: str = "–"
    change: str = "–"
    missing: str = ""


def status_words(report: Report) -> str:
    """Returns how the run ended: "done", "gates not met", "budget not met" or "failed"."""
    return "failed" if report.status == "failed" else bounds_words(report)


def bounds_words(reached: Report | CurvePoint) -> str:
    """Returns which kind of bounds a run that ended well did not meet, "done" where it met all."""
    if any(not gate.passed for gate in reached.gates):
        return "gates not met"
    return "budget not met" if any(budget.met is False for budget in reached.budgets) else "done"


def model_names(report: Report) -> tuple[str, str]:
    """Returns the file names of the model and of what came of it, without folders."""
    new = report.output.file if report.output is not None else ""
    return _base(report.model.file) or "model in memory", _base(new) or (
        "no model" if report.output is None else "model in memory"
    )


def _base(path: str) -> str:
    return path.replace("\\", "/").rsplit("/", 1)[-1]


def is_unclear(latency: LatencyReport) -> bool:
    """Returns whether the interval of the ratio holds 1, so that no difference was shown."""
    low, high = latency.ratio_low, latency.ratio_high
    return low is not None and high is not None and low <= 1.0 <= high


def speed_words(latency: LatencyReport) -> str:
    """Returns what the ratio says: "1.69 times as fast", or that it says nothing."""
    if latency.ratio is None or not _LEAST < latency.ratio < 1 / _LEAST:
        return "no ratio was found"
    low, high = latency.ratio_low, latency.ratio_high
    if is_unclear(latency):
        return "no difference shown"
    if low is not None and high is not None and low > _LEAST and high > _VAGUE * low:
        # one figure would claim more than was measured
        return (
            f"{1 / high:.2g} to {1 / low:.2g} times as fast" if high < 1 else f"{low:.2g} to {high:.2g} times as slow"
        )
    return f"{1 / latency.ratio:.2f} times as fast" if latency.ratio < 1 else f"{latency.ratio:.2f} times as slow"


def chance_points(evaluation: Evaluation) -> float | None:
    """Returns how many points of accuracy chance can make, or None where no answers differ or none were compared."""
    if evaluation.agreement is None or not 0.0 <= evaluation.agreement < 1.0 or evaluation.labelled <= 0:
        return None
    return 196.0 * math.sqrt((1.0 - evaluation.agreement) / evaluation.labelled)


def accuracy_missing(report: Report) -> str:
    """Returns why there is no accuracy, "" where there is one."""
    found = report.evaluation
    if found is not None and _has_scores(found.after):
        return ""
    if report.status == "failed" and found is None:
        return "the run ended before"
    if found is not None:
        return "the evaluation data has no labels"
    option = "data" if report.command.split()[1:2] == ["validate"] else "eval_data"
    given = report.options.get(option) is not None
    return "see the notes" if given else f"no evaluation data was given (--{option.replace('_', '-')})"


def latency_missing(report: Report) -> str:
    """Returns why there is no latency, "" where there is one."""
    if report.latency is not None and report.latency.ratio is not None:
        return ""
    if report.latency is not None:
        return "the measurement gave no ratio"
    return "the run ended before" if report.status == "failed" else "this command does not time models"


def accuracy_of(evaluation: Evaluation | None) -> tuple[str, float | None, float | None]:
    """Returns the name of the figure that tells best how good the models are, and it before and after."""
    if evaluation is None:
        return "accuracy", None, None
    old, new = evaluation.before, evaluation.after
    if new.custom is not None:
        return "your metric", old.custom, new.custom
    if new.top1 is not None:
        return "top-1 accuracy", old.top1, new.top1
    return "agreement with the original", None, evaluation.agreement


def accuracy_name(report: Report) -> str:
    """Returns the name of the figure that `accuracy_of` gives."""
    return accuracy_of(report.evaluation)[0]


def before_and_after(report: Report) -> tuple[Row, ...]:
    """Returns MACs, parameters, size, latencies and accuracies; what was not measured with the reason."""
    return (*_costs(report), *_latencies(report), *_accuracies(report))


def _costs(report: Report) -> tuple[Row, ...]:
    before, after = report.before or Cost(), report.after or Cost()
    ended = report.status == "failed"
    rows = []
    for name, text, old, new in (
        ("MACs per sample", numbers.count, before.macs, after.macs),
        ("parameters", numbers.count, before.params, after.params),
        ("file size", numbers.bytes_, before.file_bytes, after.file_bytes),
    ):
        missing = ""
        if new is None:
            kept = "the model stayed in memory" if name == "file size" else "it was not counted"
            missing = "the run ended before" if ended else kept
        rows.append(Row(name, text(old), text(new), numbers.ratio(new, old), missing))
    return tuple(rows)


def _latencies(report: Report) -> tuple[Row, ...]:
    latency = report.latency
    if latency is None:
        return (Row("latency", missing=latency_missing(report)),)
    old, new = latency.before, latency.after
    rows = [
        Row("latency, median", numbers.time_us(old.p50_us), numbers.time_us(new.p50_us), numbers.ratio(latency.ratio)),
        Row(
            "latency, 95 % of runs",
            numbers.time_us(old.p95_us),
            numbers.time_us(new.p95_us),
            numbers.ratio(new.p95_us, old.p95_us),
        ),
        Row("latency, spread (IQR)", numbers.time_us(old.iqr_us), numbers.time_us(new.iqr_us)),
    ]
    if latency.dense is not None:
        form, form_us = best_dense(latency, latency.dense)
        times = numbers.time_us(form_us), numbers.time_us(new.p50_us)
        rows.append(Row(f"latency, best dense form ({form})", *times, numbers.ratio(latency.dense.ratio)))
    return tuple(rows)


def _accuracies(report: Report) -> tuple[Row, ...]:
    found = report.evaluation
    rows = []
    if found is not None:
        old, new = found.before, found.after
        for name, share, new_share in (
            ("top-1 accuracy", old.top1, new.top1),
            ("top-5 accuracy", old.top5, new.top5),
        ):
            if new_share is not None:
                change = numbers.points(share, new_share)
                rows.append(Row(name, numbers.percent(share), numbers.percent(new_share), change))
        if new.custom is not None:
            change = numbers.gain(old.custom, new.custom)
            rows.append(Row("your metric", numbers.plain(old.custom), numbers.plain(new.custom), change))
        if found.agreement is not None:
            rows.append(
                Row("agreement with the original", "100.0\N{NO-BREAK SPACE}%", numbers.percent(found.agreement))
            )
    missing = accuracy_missing(report)
    return (*rows, *((Row("accuracy", missing=missing),) if missing else ()))


def _has_scores(accuracy: Accuracy) -> bool:
    return any(value is not None for value in (accuracy.top1, accuracy.top5, accuracy.custom))


def verdict(report: Report) -> tuple[str, ...]:
    """Returns what came of the run, in sentences."""
    if report.status == "failed":
        during = f" during {report.failure.during}" if report.failure is not None and report.failure.during else ""
        return (f"The run failed{during}. No model was written.",)
    return tuple(filter(None, (_left(report), _speed(report), _quality(report))))


def _left(report: Report) -> str:
    before, after = report.before, report.after
    if before is None or after is None or not before.macs or after.macs is None:
        return ""
    said = f"{numbers.percent(after.macs / before.macs)} of the MACs"
    if before.params and after.params is not None:
        said += f" and {numbers.percent(after.params / before.params)} of the parameters"
    return f"{said} are left."


def _speed(report: Report) -> str:
    latency = report.latency
    if latency is None or latency.ratio is None:
        return f"Latency was not measured: {latency_missing(report)}."
    ends = ""
    if latency.ratio_low is not None and latency.ratio_high is not None:
        ends = f"{latency.ratio_low:.2f} to {latency.ratio_high:.2f}"
    if is_unclear(latency):
        said = f"No difference in latency was shown: the ratio lies between {ends.replace('to', 'and')}."
    else:
        interval = f" (ratio {latency.ratio:.2f}, 95{numbers.NBSP}% interval {ends})" if ends else ""
        said = f"It is {speed_words(latency)}{interval}."
    return f"{said} Other load disturbed the measurement." if latency.noisy else said


def _quality(report: Report) -> str:
    name, old, new = accuracy_of(report.evaluation)
    if report.evaluation is None or new is None:
        return f"Accuracy was not measured: {accuracy_missing(report)}."
    samples = f"{report.evaluation.n:,} samples"
    if name == "your metric":
        return f"Your metric on {samples}: {numbers.plain(old)} before, {numbers.plain(new)} after."
    if old is None:
        alike = f"Both models answer alike for {numbers.percent(new)} of {samples}"
        return f"{alike}; accuracy was not measured: {accuracy_missing(report)}."
    chance = chance_points(report.evaluation)
    change = numbers.points(old, new)
    if chance is not None and 0 < abs(new - old) * 100 <= chance:
        change += f", which chance alone could make with so many samples (±{chance:.1f})"
    return f"Top-1 accuracy on {samples}: {numbers.percent(old)} before, {numbers.percent(new)} after, {change}."
