"""The top of the page: which run, how it ended, its most important figures, and what must not be missed."""

from __future__ import annotations

from onnxprune.core.errors import InternalError
from onnxprune.report.facts import (
    accuracy_missing,
    accuracy_of,
    chance_points,
    is_unclear,
    latency_missing,
    model_names,
    speed_words,
    status_words,
    verdict,
)
from onnxprune.report.page import numbers
from onnxprune.report.page.bars import pair
from onnxprune.report.page.markup import Content, Markup, tag
from onnxprune.report.page.section import listing
from onnxprune.report.remarks import remarks
from onnxprune.report.schema import Cost, Failure, Report
from onnxprune.report.status import conditions

__all__ = ["cards", "failure_box", "heading", "remarks_box"]

_TONES = {"done": "good", "gates not met": "warn", "budget not met": "warn", "failed": "bad"}


def heading(report: Report) -> Markup:
    """Returns the headline: both models, how the run ended, and what came of it."""
    before, after = model_names(report)
    status = status_words(report)
    words = report.command.split()
    kind = words[1] if len(words) > 1 and words[0] == "onnxprune" else "run"
    return tag(
        "header",
        tag("p", f"onnxprune {kind}", " ", tag("span", status, class_=f"pill {_TONES[status]}"), class_="eyebrow"),
        tag("h1", before, tag("span", " → ", class_="arrow"), after),
        tag("p", " ".join(verdict(report)), class_="lead"),
    )


def cards(report: Report) -> Markup:
    """Returns a card for each of MACs, parameters, size, latency and accuracy."""
    before, after = report.before or Cost(), report.after or Cost()
    return tag(
        "div",
        _cost("MACs", before.macs, after.macs, numbers.count, " per sample"),
        _cost("Parameters", before.params, after.params, numbers.count),
        _cost("File size", before.file_bytes, after.file_bytes, numbers.bytes_),
        _latency(report),
        _accuracy(report),
        class_="cards",
        role="list",
        aria_label="The most important figures",
    )


def failure_box(report: Report) -> Markup | None:
    """Returns why a run failed and what it had reached; None for one that did not."""
    failure = report.failure
    if report.status != "failed":
        return None
    done = ", ".join(record.name for record in report.passes)
    reached = f"Passes that were done: {done}." if done else "No pass was done."
    return tag(
        "div",
        tag("h2", "Why it failed"),
        tag("pre" if _is_trace(failure) else "p", failure.message, class_="message") if failure is not None else None,
        tag("p", f"{failure.kind}, exit code {failure.exit_code}.") if failure is not None else None,
        tag("p", reached),
        tag("p", "A model that stands where the result was to go is from an earlier run."),
        class_="box bad",
        role="alert",
    )


def _is_trace(failure: Failure) -> bool:
    """Returns whether the message is a traceback, whose lines stand one below the other."""
    return failure.exit_code == InternalError.exit_code


def remarks_box(report: Report) -> Markup | None:
    """Returns what a reader must not miss; None where there is nothing."""
    said = remarks(report)
    if not said:
        return None
    return tag("div", tag("h2", "What to know"), listing(said), class_="box warn", role="note")


def _card(name: str, big: Content, *more: Content, tone: str = "") -> Markup:
    shown = tag("p", big, class_=f"big {tone}".strip()) if big is not None else None
    return tag("div", tag("h3", name), shown, *more, class_="card", role="listitem")


def _none(name: str, reason: str) -> Markup:
    return _card(name, None, tag("p", "not measured", class_="big none"), tag("p", reason, class_="small"))


def _cost(name: str, before: float | None, after: float | None, text: numbers.Text, of: str = "") -> Markup:
    if after is None or not before:
        return _none(name, f"{text(before)} before" if before else "unknown before, too")
    change = f"{text(before)} → {text(after)}{of}"
    bars = pair(before, after, f"{name}: {text(before)} before, {text(after)} after")
    return _card(name, numbers.percent(after / before), bars, tag("p", change, class_="small"))


def _latency(report: Report) -> Markup:
    latency = report.latency
    if latency is None or latency.ratio is None:
        return _none("Latency", latency_missing(report))
    old, new = latency.before.p50_us, latency.after.p50_us
    interval = ""
    if latency.ratio_low is not None and latency.ratio_high is not None:
        # a word joiner on either side keeps the two numbers on one line
        interval = f"95{numbers.NBSP}% interval {latency.ratio_low:.2f}\u2060–\u2060{latency.ratio_high:.2f}"
    tone = "warn" if is_unclear(latency) or latency.noisy else "bad" if latency.ratio > 1 else ""
    return _card(
        "Latency, median",
        numbers.ratio(latency.ratio),
        pair(old, new, f"Latency: {numbers.time_us(old)} before, {numbers.time_us(new)} after"),
        tag("p", f"{numbers.time_us(old)} → {numbers.time_us(new)}", class_="small"),
        tag("p", speed_words(latency), class_="small"),
        tag("p", interval, class_="small") if interval else None,
        tag("p", conditions(latency).rsplit(", n = ", 1)[0], class_="small"),
        tag("p", "disturbed by other load", class_="small warn") if latency.noisy else None,
        tone=tone,
    )


def _accuracy(report: Report) -> Markup:
    found = report.evaluation
    name, old, new = accuracy_of(found)
    title = name[:1].upper() + name[1:]
    if found is None or new is None:
        return _none("Accuracy", accuracy_missing(report))
    on = tag("p", f"{found.n:,} samples", class_="small")
    if old is None:
        return _card(
            title,
            numbers.percent(new),
            on,
            tag("p", f"accuracy not measured: {accuracy_missing(report)}", class_="small"),
        )
    if name == "your metric":
        change = f"{numbers.plain(old)} → {numbers.plain(new)} ({numbers.gain(old, new)})"
        return _card(title, numbers.plain(new), tag("p", change, class_="small"), on)
    chance = chance_points(found)
    within = f"chance alone can make ±{chance:.1f}{numbers.NBSP}points" if chance is not None else None
    return _card(
        title,
        numbers.percent(new),
        pair(old, new, f"{title}: {numbers.percent(old)} before, {numbers.percent(new)} after"),
        tag("p", f"{numbers.percent(old)} → {numbers.percent(new)} ({numbers.points(old, new)})", class_="small"),
        on,
        tag("p", within, class_="small") if within else None,
    )
