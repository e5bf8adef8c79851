"""An inspection as tables for people."""

from __future__ import annotations

from collections.abc import Mapping

from rich import box
from rich.console import Group as Stack
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from onnxprune.core.group import Group
from onnxprune.core.result import Inspection
from onnxprune.report.figures import bytes_text, count_text, percent_text
from onnxprune.report.records import frozen_records
from onnxprune.report.terminal import frozen_table

__all__ = ["render_inspection"]

_ROLES = (("producer", "written by"), ("consumer", "read by"))


def render_inspection(inspection: Inspection) -> RenderableType:
    """Returns what the terminal shows: model, inputs, groups, frozen channels, reachable range."""
    parts: list[RenderableType] = [_model_table(inspection)]
    if inspection.groups:
        parts.append(_groups_table(inspection))
    else:
        parts.append(Text("No channel can be pruned; the reasons stand below."))
    if inspection.frozen:
        parts.append(frozen_table(frozen_records(inspection.frozen), verbose=True))
    if inspection.unknown_ops:
        counts = ", ".join(f"{name} ({count})" for name, count in sorted(inspection.unknown_ops.items()))
        parts.append(Text(f"Operators without a rule, which freeze what they touch: {counts}."))
    parts += [Text(note, style="dim") for note in inspection.notes]
    return Stack(*parts)


def _model_table(inspection: Inspection) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    rows = [("model", inspection.model or "in memory"), ("opset", str(inspection.opset))]
    rows += [("input", text) for text in _tensors(inspection.inputs)]
    rows += [("output", text) for text in _tensors(inspection.outputs)]
    rows += [("MACs per sample", count_text(inspection.macs)), ("parameters", count_text(inspection.params))]
    rows += [("weights", bytes_text(inspection.size_bytes))]
    rows += [
        (f"reachable {resource}", f"{percent_text(low)} to {percent_text(high)} of the original")
        for resource, (low, high) in inspection.reachable.items()
    ]
    for label, text in rows:
        table.add_row(Text(label, style="bold"), Text(text))
    return table


def _tensors(tensors: Mapping[str, tuple[str, tuple[int | str, ...]]]) -> list[str]:
    return [f"{name}: {dtype} [{', '.join(map(str, shape))}]" for name, (dtype, shape) in tensors.items()]


def _groups_table(inspection: Inspection) -> Table:
    title = f"{len(inspection.groups)} groups of channels that stay or go together"
    table = Table(title=Text(title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("group", overflow="fold")
    for name in ("channels", "MACs share"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("members", overflow="fold")
    for group in inspection.groups:
        share = percent_text(inspection.group_macs.get(group.name))
        table.add_row(Text(group.name), Text(str(group.size)), Text(share), Text(_members(group)))
    return table


def _members(group: Group) -> str:
    """Returns who writes and who reads the group's channels; parameters per channel are counted only."""
    parts = []
    for role, words in _ROLES:
        names = dict.fromkeys(m.node or m.initializer for m in group.members if m.role == role)
        if names:
            parts.append(f"{words} {', '.join(names)}")
    vectors = sum(m.role == "vector" for m in group.members)
    if vectors:
        parts.append(f"{vectors} per-channel")
    if group.multiple > 1:
        parts.append(f"{group.multiple} physical channels each")
    if group.approximate:
        parts.append(f"approximate: {group.approximate}")
    return "; ".join(parts)
