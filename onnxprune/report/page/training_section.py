"""What gave accuracy back: recovery from samples, and retraining, epoch by epoch."""

from __future__ import annotations

from itertools import pairwise

from onnxprune.report.page import numbers
from onnxprune.report.page.line_chart import Line, Mark, line_chart
from onnxprune.report.page.markup import Markup, join, tag
from onnxprune.report.page.section import Section, charts, folded, listing, paragraphs, table
from onnxprune.report.schema import Recovery, Report, Training

__all__ = ["training_section"]

_SHARES = ("accuracy", "agreement")


def training_section(report: Report) -> Section | None:
    """Returns the section; None for a command that does not train."""
    parts: list[Markup] = []
    if report.recovery is not None:
        parts.append(_recovery(report.recovery))
    if report.training is not None:
        parts.append(_training(report.training))
    elif report.no_training:
        parts.append(join((tag("h3", "Retraining"), paragraphs(report.no_training))))
    return Section("training", "Recovery and retraining", join(parts)) if parts else None


def _recovery(recovery: Recovery) -> Markup:
    said = f"Layers were fitted to the original's outputs on {recovery.samples:,} samples"
    if recovery.error_before is not None and recovery.error_after is not None:
        said += (
            f"; on {recovery.held_out:,} held-out samples the outputs' error went from "
            f"{numbers.plain(recovery.error_before, 3)} to {numbers.plain(recovery.error_after, 3)}"
        )
    rows = [
        (
            stage.method.replace("_", " "),
            numbers.plain(stage.error_before, 3),
            numbers.plain(stage.error_after, 3),
            str(stage.layers_changed),
            numbers.seconds(stage.seconds),
            "kept" if stage.kept else f"undone: {stage.reason or 'no gain'}",
        )
        for stage in recovery.stages
    ]
    head = ("method", "error before", "error after", "layers changed", "time", "outcome")
    skipped = None
    if recovery.skipped:
        told = listing(f"{name}: {why}" for name, why in recovery.skipped.items())
        skipped = folded(f"{len(recovery.skipped):,} layers were left alone", told)
    return join(
        (tag("h3", "Recovery"), paragraphs(f"{said}."), table("Recovery", head, rows, words=(5,), loud=False), skipped)
    )


def _training(training: Training) -> Markup:
    epochs = training.epochs
    facts = [f"{len(epochs):,} epoch{'' if len(epochs) == 1 else 's'}"]
    if training.samples is not None:
        facts.append(f"{training.samples:,} samples")
    if training.batch_size:
        facts.append(f"{training.batch_size:,} a step")
    facts += [text for text in (training.precision, training.device.upper()) if text]
    if training.processes > 1:
        facts.append(f"{training.processes} processes")
    if training.seconds is not None:
        facts.append(numbers.seconds(training.seconds))
    ended = "Training ended early: validation no longer gained." if training.stopped_early else ""
    return join(
        (
            tag("h3", "Retraining"),
            paragraphs(f"{', '.join(facts)}.", ended),
            _curves(training),
            folded("Epoch by epoch", _table(training)),
        )
    )


def _curves(training: Training) -> Markup | None:
    epochs = training.epochs
    marks = [
        Mark(after.epoch, f"phase {after.phase}", upright=True)
        for before, after in pairwise(epochs)
        if after.phase != before.phase
    ]
    kept = [Mark(training.kept_epoch, "kept", upright=True)] if training.kept_epoch else []
    share = training.metric_name in _SHARES
    scores = tuple((e.epoch, None if e.metric is None else e.metric * (100 if share else 1)) for e in epochs)
    losses, rates = tuple((e.epoch, e.loss) for e in epochs), tuple((e.epoch, e.lr) for e in epochs)
    name = training.metric_name or "score"
    score = line_chart(
        f"{name[:1].upper()}{name[1:]} on validation data",
        [Line(name, scores)],
        x_name="epoch",
        y_name=f"{name}, %" if share else name,
        marks=[*marks, *kept],
        zero=False,
    )
    drawn = charts(
        line_chart("Training loss", [Line("loss", losses)], x_name="epoch", y_name="mean loss", marks=marks),
        score,
        line_chart("Learning rate", [Line("rate", rates)], x_name="epoch", y_name="at the last step", marks=marks),
    )
    if score is None and epochs:
        said = "Validation during training: not measured (--val-data or --val-share); the last epoch was kept."
        return join((drawn, paragraphs(said, kind="under")))
    return drawn


def _table(training: Training) -> Markup:
    share = training.metric_name in _SHARES
    rows = [
        (
            str(e.epoch),
            str(e.phase),
            numbers.plain(e.loss),
            numbers.percent(e.metric) if share else numbers.plain(e.metric),
            numbers.plain(e.lr, 3),
            numbers.seconds(e.seconds),
            "kept" if e.epoch == training.kept_epoch else "",
        )
        for e in training.epochs
    ]
    head = ("epoch", "phase", "mean loss", training.metric_name or "score", "learning rate", "time", "")
    return table("Epochs", head, rows, words=(6,), loud=False)
