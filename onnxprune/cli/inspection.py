"""An inspection as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich import box
from rich.console import Group as Stack
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from onnxprune.core.group import FrozenAxis, Group
from onnxprune.core.result import Inspection, Prunable
from onnxprune.report.figures import bytes_text, count_text, percent_text

__all__ = ["render_inspection"]

_ROLES = (("producer", "written by"), ("consumer", "read by"))
_FEW_MEMBERS, _FEW_CHAINS, _FEW_NAMES, _FEW_ROWS, _MOST_LETTERS = 2, 2, 3, 12, 32
"""How much is shown unless all was asked for. Of lists one more is shown, rather than "and 1 more"."""


def render_inspection(inspection: Inspection, *, graph: str | None = None, verbose: bool = False) -> RenderableType:
    """Returns what the terminal shows: model, inputs, reachable range, groups, frozen channels.

    Args:
        inspection: What was found.
        graph: Where the drawing was written, or None.
        verbose: Whether long lists are shown in full.
    """
    parts: list[RenderableType] = [_model_table(inspection, graph)]
    if inspection.groups:
        parts.append(_groups_table(inspection, verbose))
    else:
        parts.append(Text("No channel can be pruned; the reasons stand below."))
    if inspection.frozen:
        parts.append(_frozen_table(inspection.frozen, verbose))
    if inspection.unknown_ops:
        counts = ", ".join(f"{name} ({count})" for name, count in sorted(inspection.unknown_ops.items()))
        parts.append(Text(f"Operators without a rule, which freeze what they touch: {counts}."))
    parts += [Text(note, style="dim") for note in inspection.notes]
    return Stack(*parts)


def _model_table(inspection: Inspection, graph: str | None) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    rows = [("model", inspection.model or "in memory"), ("opset", str(inspection.opset))]
    rows += [("input", text) for text in _tensors(inspection.inputs)]
    rows += [("output", text) for text in _tensors(inspection.outputs)]
    rows += [("MACs per sample", count_text(inspection.macs)), ("parameters", count_text(inspection.params))]
    rows += [("weights", bytes_text(inspection.size_bytes))]
    rows += [(f"prunable {resource}", _prunable(share)) for resource, share in inspection.prunable.items()]
    rows += [
        (f"reachable {resource}", f"{percent_text(low)} to {percent_text(high)} of the original")
        for resource, (low, high) in inspection.reachable.items()
    ]
    rows += [("drawing", graph)] if graph is not None else []
    for label, text in rows:
        table.add_row(Text(label, style="bold"), Text(text))
    return table


def _tensors(tensors: Mapping[str, tuple[str, tuple[int | str, ...]]]) -> list[str]:
    return [f"{name}: {dtype} [{', '.join(map(str, shape))}]" for name, (dtype, shape) in tensors.items()]


def _prunable(share: Prunable) -> str:
    exact, both = percent_text(share.exact), percent_text(share.approximate)
    if share.approximate is None:
        return f"{exact} on channels that can go"
    return f"{exact} on channels that can go exactly, {both} with approximate ones"


def _groups_table(inspection: Inspection, verbose: bool) -> Table:
    title = f"{len(inspection.groups)} groups of channels that stay or go together"
    table = _table(title)
    table.add_column("group", overflow="fold", ratio=2)
    for name in ("channels", "MACs", "params"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("members", overflow="fold", ratio=5)
    for group in inspection.groups:
        shares = [percent_text(found.get(group.name)) for found in (inspection.group_macs, inspection.group_params)]
        cells = [group.name, str(group.size), *shares, _members(group, verbose)]
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _table(title: str) -> Table:
    return Table(title=Text(title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)


def _members(group: Group, verbose: bool) -> str:
    """Returns who writes and who reads the group's channels; parameters per channel are counted only."""
    parts = []
    for role, words in _ROLES:
        names = list(dict.fromkeys(m.node or m.initializer for m in group.members if m.role == role))
        if names:
            few = verbose or len(names) <= _FEW_MEMBERS
            parts.append(f"{words} {', '.join(_short(n, verbose) for n in names) if few else f'{len(names)} nodes'}")
    vectors = sum(m.role == "vector" for m in group.members)
    if vectors:
        parts.append(f"{vectors} per-channel")
    if group.multiple > 1:
        parts.append(f"{group.multiple} physical channels each")
    if group.approximate:
        reasons = group.approximate.split("; ")
        parts.append(f"approximate: {_some(reasons, len(reasons) if verbose else 1, '; ')}")
    return "; ".join(parts)


def _short(name: str, verbose: bool) -> str:
    """Returns the end of a long name, which tells most; exporters give names of a hundred letters."""
    return name if verbose or len(name) <= _MOST_LETTERS else f"…{name[1 - _MOST_LETTERS :]}"


def _some(words: list[str], most: int, between: str = ", ") -> str:
    """Returns `words` as a list; where they are more than `most` and one, the rest as a count."""
    if len(words) <= most + 1:
        return between.join(words)
    return f"{between.join(words[:most])} and {len(words) - most} more"


def _frozen_table(frozen: Iterable[FrozenAxis], verbose: bool) -> Table:
    """Returns the frozen channels by reason, those with most channels first, with the way to each reason."""
    by_reason: dict[tuple[str, ...], list[FrozenAxis]] = {}
    for axis in frozen:
        by_reason.setdefault(axis.reasons, []).append(axis)
    rows = sorted(by_reason.values(), key=lambda axes: -sum(axis.size for axis in axes))
    table = _table("Channels that stay, and why")
    table.add_column("where: operators → reason", overflow="fold")
    table.add_column("channels", justify="right", no_wrap=True)
    shown = rows if verbose or len(rows) <= _FEW_ROWS + 1 else rows[:_FEW_ROWS]
    for axes in shown:
        table.add_row(_where(axes, verbose), Text(str(sum(axis.size for axis in axes))))
    rest = [axis for axes in rows[len(shown) :] for axis in axes]
    if rest:
        more = f"… and {len(rows) - len(shown)} more reasons; -v shows all"
        table.add_row(Text(more, style="dim"), Text(str(sum(axis.size for axis in rest)), style="dim"))
    return table


def _where(axes: list[FrozenAxis], verbose: bool) -> Text:
    """Returns how the first of some weights leads to each reason, and which others share them."""
    names = list(dict.fromkeys(axis.name for axis in axes))
    chains = list(axes[0].chains)
    if not chains:
        return Text(f"{'; '.join(axes[0].reasons)}: ").append(_listed(names, verbose), style="dim")
    shown = chains if verbose or len(chains) <= _FEW_CHAINS + 1 else chains[:_FEW_CHAINS]
    lines = [Text(chain) for chain in shown]
    if len(shown) < len(chains):
        lines.append(Text(f"… and {len(chains) - len(shown)} more reasons", style="dim"))
    if len(names) > 1:
        lines.append(Text(f"likewise {_listed(names[1:], verbose)}", style="dim"))
    return Text("\n").join(lines)


def _listed(names: list[str], verbose: bool) -> str:
    return _some(names, len(names) if verbose else _FEW_NAMES)
