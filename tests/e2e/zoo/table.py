"""The zoo's results as a markdown table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["cell", "lines", "table"]

HEAD = (
    "architecture",
    "exporter",
    "nodes",
    "groups",
    "channels",
    "prunable share of parameters",
    "MACs kept",
    "certificate",
    "analysis, ms",
    "notes",
)
Record = Mapping[str, Any]


def table(records: Sequence[Record]) -> str:
    """Returns a markdown table with one row per record, in the order given."""
    return lines(HEAD, [_row(record) for record in records])


def lines(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a markdown table of finished cells."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows)) + "\n"


def cell(text: str) -> str:
    """Returns `text` as it can stand in a cell."""
    return text.replace("|", "\\|").replace("\n", " ")


def _row(record: Record) -> tuple[str, ...]:
    names = str(record["name"]), str(record["exporter"])
    if "nodes" not in record:
        return (*names, "", "", "", "", "", "", "", cell(record.get("failure", "not measured")))
    return (
        *names,
        str(record["nodes"]),
        str(record["groups"]),
        str(record["channels"]),
        f"{record['prunable_share']:.1%}",
        f"{record['macs_share']:.1%}" if "macs_share" in record else "",
        f"{max(record['worst']):.0e}" if "worst" in record else "",
        f"{record['analysis_ms']:.0f}",
        "; ".join(_remarks(record)),
    )


def _remarks(record: Record) -> list[str]:
    remarks = []
    if not record["groups"]:
        remarks.append(f"nothing can be removed: {'; '.join(record['frozen'])}")
    if record.get("approximate"):
        remarks.append("with `--approximate`")
    if record.get("budget", record["asked"]) != record["asked"]:
        remarks.append(f"{record['asked']:.0%} of the MACs cannot be reached; pruned to {record['budget']:.0%}")
    if record["unknown_ops"]:
        remarks.append("no rule: " + ", ".join(f"{op} ×{n}" for op, n in record["unknown_ops"].items()))
    moving = sum(
        size != other
        for name, sizes in record["sizes"].items()
        for size, other in zip(sizes, record["second_sizes"].get(name, sizes), strict=True)
    )
    if not moving:
        remarks.append("static sizes only")
    return [cell(remark) for remark in remarks]
