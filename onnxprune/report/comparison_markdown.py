"""Several runs as text for a pull request."""

from __future__ import annotations

from onnxprune.report.comparison import Compared, Run, budget_words
from onnxprune.report.facts import accuracy_of
from onnxprune.report.markdown import plain_text, table
from onnxprune.report.page import numbers

__all__ = ["comparison_markdown", "fronts_words", "latency_text", "quality_text"]


def comparison_markdown(compared: Compared) -> str:
    """Returns runs side by side as Markdown."""
    head = ("run", "budget", "MACs", "parameters", "size", "latency (95 % interval)", "quality", "front", "")
    rows = []
    for place, run in enumerate(compared.runs):
        rows.append(
            (
                f"**{compared.letters[place]}** {plain_text(run.name)}",
                plain_text(budget_words(run)),
                numbers.percent(run.macs),
                numbers.percent(run.params),
                numbers.percent(run.size),
                latency_text(run),
                quality_text(compared, place),
                fronts_words(compared, place),
                run.status if run.status != "done" else "",
            )
        )
    parts = [f"## {len(rows)} runs", table(head, rows)]
    parts.append("\n".join(f"- {plain_text(note)}" for note in compared.notes))
    return "\n\n".join(part for part in parts if part) + "\n"


def latency_text(run: Run) -> str:
    """Returns the ratio of latencies with its interval: "×0.41 (0.39–0.43)"."""
    ends = "" if run.interval is None else f" ({run.interval[0]:.2f}–{run.interval[1]:.2f})"
    return f"{numbers.ratio(run.ratio)}{ends}"


def quality_text(compared: Compared, place: int) -> str:
    """Returns how good a run is: its accuracy before and after, or what there is instead."""
    name, old, new = accuracy_of(compared.runs[place].point.evaluation)
    if new is None:
        return "not measured"
    text = numbers.plain if name == "your metric" else numbers.percent
    return f"{text(old)} → {text(new)}" if old is not None else f"{text(new)} alike"


def fronts_words(compared: Compared, place: int) -> str:
    """Returns on which fronts a run is."""
    found = [name for name, front in (("MACs", compared.by_macs), ("latency", compared.by_latency)) if place in front]
    return " and ".join(found) or "–"
