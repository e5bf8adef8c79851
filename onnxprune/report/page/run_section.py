"""How the run went and how to repeat it: command, options, passes, notes, models, environment."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from onnxprune.report.page import numbers
from onnxprune.report.page.bars import share_bar
from onnxprune.report.page.markup import Content, Markup, join, tag
from onnxprune.report.page.section import Section, folded, listing, pairs, paragraphs, table
from onnxprune.report.schema import ModelRecord, Report, TensorRecord
from onnxprune.report.status import plan_line

__all__ = ["run_section"]

_IN_MEMORY = re.compile(r"<[A-Za-z_]\w*>")


def run_section(report: Report) -> Section:
    """Returns the section."""
    return Section("run", "How to repeat it", join(_parts(report)))


def _parts(report: Report) -> Iterator[Markup | None]:
    # lines end between words, not behind the hyphens of an option
    words = join((tag("span", word) for word in report.command.split(" ")), " ")
    command = tag("pre", tag("code", words), class_="command", tabindex=0)
    yield tag("div", command, class_="copyable")
    if _IN_MEMORY.search(report.command):
        yield paragraphs("What stands in angle brackets was in memory, and is not in this report.", kind="under")
    if report.plan is not None:
        yield paragraphs(plan_line(report))
    set_ = [
        (name, _text(value)) for name, value in sorted(report.options.items()) if value not in (None, False, [], "")
    ]
    if report.seed is not None:
        yield paragraphs(f"Seed {report.seed}: the same command on the same machine and versions gives the same model.")
    if set_:
        yield folded(f"{len(set_):,} options in force; what is not listed was off or left to onnxprune", pairs(set_))
    if report.notes:
        yield tag("h3", "Notes")
        yield listing(report.notes)
    yield tag("h3", "Models")
    yield _models(report)
    if report.passes:
        yield tag("h3", "Passes")
        yield _passes(report)
    if report.environment:
        yield tag("h3", "Environment")
        yield pairs(_flat(report.environment))


def _models(report: Report) -> Markup:
    kinds = [("original", report.model), *((("result", report.output),) if report.output is not None else ())]
    return join(tag("div", tag("h4", name), _model(record)) for name, record in kinds)


def _model(record: ModelRecord) -> Markup:
    rows: list[tuple[str, Content]] = [("file", record.file or "in memory")]
    if record.sha256:
        rows.append(("SHA-256", tag("code", record.sha256)))
    if record.opset is not None:
        rows.append(("operator set", str(record.opset)))
    rows += [("input", _tensor(tensor)) for tensor in record.inputs]
    rows += [("output", _tensor(tensor)) for tensor in record.outputs]
    return pairs(rows)


def _tensor(record: TensorRecord) -> str:
    shape = (
        "of unknown shape"
        if record.shape is None
        else f"[{', '.join('?' if d is None else str(d) for d in record.shape)}]"
    )
    return f"{record.name}: {record.dtype or 'unknown type'} {shape}"


def _passes(report: Report) -> Markup:
    longest = max((record.seconds or 0.0 for record in report.passes), default=0.0)
    rows = [
        (
            record.name,
            share_bar(
                (record.seconds or 0.0) / longest if longest else 0.0,
                f"{record.name}: {numbers.seconds(record.seconds)}",
            ),
            numbers.seconds(record.seconds),
            _nodes(record.nodes_before, record.nodes_after),
        )
        for record in report.passes
    ]
    total = numbers.seconds(sum(record.seconds or 0.0 for record in report.passes))
    shown = table("Passes in order", ("pass", "", "time", "nodes"), rows, words=(1,), kind="rows passes", loud=False)
    return join((paragraphs(f"{len(rows):,} passes in {total}, in order."), shown))


def _nodes(before: int | None, after: int | None) -> str:
    if before is None or after is None:
        return "–"
    return str(after) if before == after else f"{before} → {after}"


def _flat(content: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields the entries of tables within tables, by their last names."""
    for name, value in sorted(content.items()):
        if isinstance(value, dict):
            yield from _flat(value)
        else:
            yield name.replace("_", " "), _text(value)


def _text(value: Any) -> str:
    """Returns a JSON value as people write it."""
    if value is None:
        return "not there"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return numbers.plain(value, 12)
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
