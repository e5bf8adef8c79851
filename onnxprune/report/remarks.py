"""What the figures of a report mean, in sentences.

A reader takes "40 % of the MACs" for "2.5 times as fast". Where that is not so, or where a
figure rests on less than it seems to, a sentence says it.
"""

from __future__ import annotations

from onnxprune.report.figures import percent_text
from onnxprune.report.schema import Report
from onnxprune.report.status import conditions

__all__ = ["remarks"]


def remarks(report: Report) -> tuple[str, ...]:
    """Returns the sentences that the report's reader must not miss, most important first."""
    found = [
        *_certificate(report),
        *_budgets(report),
        *_speed(report),
        *(report.latency.notes if report.latency is not None else ()),
        report.no_training,
        *_accuracy(report),
        *report.warnings,
    ]
    return tuple(dict.fromkeys(sentence for sentence in found if sentence))


def _certificate(report: Report) -> list[str]:
    if report.certificate is None or report.certificate.passed:
        return []
    worst = "infinitely" if report.certificate.max_rel is None else f"by {report.certificate.max_rel:.1e}"
    return [f"The certificate failed: the masked original and the pruned model differ {worst} (relative)."]


def _budgets(report: Report) -> list[str]:
    whole = sum(tile.form in ("densify", "dense") for tile in report.tiles)
    why = f" {whole} of {len(report.tiles)} tiled layers are computed dense, which takes all of their MACs." * bool(
        whole
    )
    return [
        f"The budget was not met: {b.asked}.{why if b.resource == 'flops' else ''}"
        for b in report.budgets
        if b.met is False
    ]


def _speed(report: Report) -> list[str]:
    latency = report.latency
    if latency is None or latency.ratio is None:
        return []
    less = ""
    if report.before is not None and report.after is not None and report.before.macs and report.after.macs is not None:
        share = report.after.macs / report.before.macs
        less = f"Fewer MACs ({percent_text(share)} of the original) but not faster" if share < 1 else ""
    if latency.ratio >= 1:
        return [
            f"{less or 'Not faster'}: the latency is {latency.ratio:.2f} times the original's ({conditions(latency)}). "
            "Kept counts that the hardware does not like, small layers or work outside the pruned layers may be why."
        ]
    if latency.ratio_high is not None and latency.ratio_high >= 1:
        return [
            "The speed-up lies within the noise: the latency is between "
            f"{latency.ratio_low or 0:.2f} and {latency.ratio_high:.2f} times the original's (95 % interval)."
        ]
    return []


def _accuracy(report: Report) -> list[str]:
    evaluation = report.evaluation
    if evaluation is None or evaluation.labelled == evaluation.n:
        return []
    if evaluation.labelled == 0:
        return ["The evaluation data has no labels: agreement with the original is reported, not accuracy."]
    return [f"Only {evaluation.labelled} of {evaluation.n} evaluation samples have a label; accuracy is over those."]
