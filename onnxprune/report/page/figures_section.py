"""Before and after: all figures, the budgets, the gates, and the checks that the model passed."""

from __future__ import annotations

from collections.abc import Iterator

from onnxprune.report.facts import before_and_after
from onnxprune.report.gates import found_text, margin
from onnxprune.report.page import numbers
from onnxprune.report.page.markup import Content, Markup, join, tag
from onnxprune.report.page.section import Section, folded, missing, paragraphs, table
from onnxprune.report.schema import BudgetRecord, GateRecord, Report

__all__ = ["figures_section"]

_TEXTS: dict[str, numbers.Text] = {"bytes": numbers.bytes_, "us": numbers.time_us}


def figures_section(report: Report) -> Section:
    """Returns the section; what was not measured is in it, with the reason."""
    return Section("figures", "Before and after", join(_parts(report)))


def _parts(report: Report) -> Iterator[Markup | None]:
    rows: list[tuple[Content, ...]] = []
    reasons: dict[str, list[str]] = {}
    for row in before_and_after(report):
        rows.append((row.name, row.before, missing() if row.missing else row.after, row.change))
        if row.missing:
            reasons.setdefault(row.missing, []).append(row.name)
    yield table("Figures before and after", ("", "before", "after", "change"), rows, loud=False)
    yield paragraphs(*(f"Not measured: {', '.join(names)}: {why}." for why, names in reasons.items()), kind="under")
    if report.budgets:
        head = ("budget", "allowed", "reached", "used", "")
        yield table("Budgets", head, (_budget(record) for record in report.budgets), words=(4,), kind="named")
    if report.gates:
        yield table(
            "Gates",
            ("gate", "found", "off by", ""),
            (
                (
                    gate.gate.replace(">=", " ≥ ").replace("<=", " ≤ "),
                    found_text(gate) if gate.where or gate.found is not None else missing(),
                    _off(gate),
                    _judged(gate.passed, "passed", "not met"),
                )
                for gate in report.gates
            ),
            words=(3,),
        )
    yield _checks(report)


def _off(gate: GateRecord) -> Content:
    off = margin(gate)
    return None if gate.passed or off is None else numbers.plain(off)


def _budget(record: BudgetRecord) -> tuple[Content, ...]:
    text = _TEXTS.get(record.unit, numbers.count)
    used = None
    if record.limit and record.reached is not None:
        used = numbers.percent(record.reached / record.limit)
    judged = (
        tag("span", "not reached", class_="missing") if record.met is None else _judged(record.met, "met", "not met")
    )
    unit = f"{numbers.NBSP}{record.unit}" if record.unit not in _TEXTS else ""
    limit, reached = (f"{text(value)}{unit}" if value is not None else "–" for value in (record.limit, record.reached))
    return record.asked.replace("<=", "≤"), limit, reached, used or "–", judged


def _judged(well: bool, yes: str, no: str) -> Markup:
    return tag("span", f"✓ {yes}" if well else f"✗ {no}", class_="good" if well else "bad")


def _checks(report: Report) -> Markup | None:
    parts: list[Markup] = []
    certificate = report.certificate
    if certificate is not None:
        sizes = " and ".join(map(str, certificate.batches))
        worst = "infinitely" if certificate.max_rel is None else f"by {certificate.max_rel:.1e} at most"
        said = (
            f"Certificate {'passed' if certificate.passed else 'FAILED'}: the original with the removed channels "
            f"masked and the pruned model differ {worst} (relative; {certificate.tolerance:.0e} is allowed; "
            f"batch {sizes})."
        )
        parts.append(paragraphs(said, certificate.note, kind=None if certificate.passed else "bad"))
    outputs = report.parity.outputs if report.parity is not None else ()
    if outputs:
        rows = [
            (
                output.name,
                "identical" if output.identical else _small(output.max_abs),
                "–" if output.identical else _small(output.max_rel),
                numbers.plain(output.cosine),
            )
            for output in outputs
        ]
        head = ("output", "largest difference", "relative", "cosine")
        remark = (
            "Both final models on the same input. What was pruned or retrained gives other outputs than the original."
        )
        shown = table("Outputs of both models", head, rows, kind="named", loud=False)
        parts.append(folded("Outputs, side by side", paragraphs(remark, kind="under"), shown))
    return join(parts) if parts else None


def _small(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.2e}"
