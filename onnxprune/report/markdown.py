"""report.md: a run as text for a pull request."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from onnxprune.report.facts import before_and_after, model_names, status_words, verdict
from onnxprune.report.gates import found_text
from onnxprune.report.page import numbers
from onnxprune.report.remarks import remarks
from onnxprune.report.schema import Report
from onnxprune.report.status import conditions, plan_line

__all__ = ["fenced", "plain_text", "report_markdown", "table"]

_MARKS = re.compile(r"([\\`*_\[\]|~#])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_MOST_GROUPS, _MOST_WORDS = 40, 2000


def plain_text(words: str) -> str:
    """Returns text that Markdown shows as it is, on one line."""
    shown = html.escape(_CONTROLS.sub("\N{REPLACEMENT CHARACTER}", " ".join(words.split(" "))), quote=False)
    return _MARKS.sub(r"\\\1", re.sub(r"[\r\n]+", " ", shown))


def fenced(words: str) -> str:
    """Returns text in a fence that nothing in it can end."""
    longest = max((len(run) for run in re.findall("`+", words)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{_CONTROLS.sub(chr(0xFFFD), words)}\n{fence}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table; every column but the first is set to the right."""
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def report_markdown(report: Report) -> str:
    """Returns a run as Markdown."""
    before, after = model_names(report)
    status = status_words(report)
    parts = [f"## {plain_text(before)} → {plain_text(after)}: {status}", plain_text(" ".join(verdict(report)))]
    if report.failure is not None:
        kind = f"{report.failure.kind}, exit code {report.failure.exit_code}:"
        parts += [plain_text(kind), fenced(report.failure.message[:_MOST_WORDS])]
    parts += [plain_text(plan_line(report)), _figures(report)]
    if report.latency is not None:
        parts.append(f"Latency on {plain_text(conditions(report.latency))}.")
    if report.budgets or report.gates:
        parts.append(_asked(report))
    parts += ["\n".join(f"- ⚠ {plain_text(sentence)}" for sentence in remarks(report))]
    parts += [_channels(report), _folded("Command", fenced(report.command))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _figures(report: Report) -> str:
    rows = []
    for row in before_and_after(report):
        if row.missing:
            rows.append((row.name, row.before, f"not measured: {plain_text(row.missing)}", "–"))
        else:
            rows.append((row.name, row.before, row.after, row.change))
    return table(("", "before", "after", "change"), rows)


def _asked(report: Report) -> str:
    words = {True: "met", False: "**not met**", None: "not reached"}
    rows = [
        (
            plain_text(b.asked.replace("<=", "≤")),
            numbers.percent(b.reached / b.limit) if b.limit and b.reached is not None else "–",
            words[b.met],
        )
        for b in report.budgets
    ]
    rows += [
        (
            plain_text(g.gate.replace(">=", " ≥ ").replace("<=", " ≤ ")),
            plain_text(found_text(g)),
            words[g.passed],
        )
        for g in report.gates
    ]
    return table(("budget or gate", "used or found", ""), rows)


def _channels(report: Report) -> str:
    cut = sorted((g for g in report.groups if g.kept < g.size), key=lambda g: -(g.macs_share or 0.0))
    if not cut:
        return ""
    rows = [(plain_text(g.name), f"{g.kept} of {g.size}", numbers.percent(g.macs_share)) for g in cut[:_MOST_GROUPS]]
    shown = table(("group", "kept", "MACs through it"), rows)
    rest = f"\n\nand {len(cut) - _MOST_GROUPS} more groups" if len(cut) > _MOST_GROUPS else ""
    return _folded(f"Channels kept in {len(cut)} groups that lose some", shown + rest)


def _folded(summary: str, content: str) -> str:
    return f"<details><summary>{html.escape(summary, quote=False)}</summary>\n\n{content}\n\n</details>"
