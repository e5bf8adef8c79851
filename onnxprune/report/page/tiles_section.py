"""Tiles: which blocks of each weight stay, how the layer is computed, and how channels changed places for it."""

from __future__ import annotations

from collections.abc import Sequence

from onnxprune.report.page import numbers
from onnxprune.report.page.heat_map import merged, squares
from onnxprune.report.page.markup import Markup, join, tag
from onnxprune.report.page.plot import figure, label, svg
from onnxprune.report.page.section import Section, charts, folded, missing, paragraphs, table
from onnxprune.report.schema import OrderRecord, Report, TileRecord

__all__ = ["tiles_section"]

_MOST_SQUARES, _ROOM, _EDGE = 64, 150.0, 22.0
_FEW_MAPS, _FEW_NAMES = 12, 4
_FORMS = {
    "kernel": "block-sparse by kernels",
    "body": "block-sparse in standard operators",
    "densify": "dense, stored packed",
    "dense": "dense with zeros",
}


def tiles_section(report: Report) -> Section | None:
    """Returns the section; None where no weight was cut into tiles."""
    if not report.tiles:
        return None
    kept, blocks = sum(t.kept * _tiles(t) for t in report.tiles), sum(t.blocks * _tiles(t) for t in report.tiles)
    counts = {form: sum(t.form == form for t in report.tiles) for form in _FORMS}
    computed = ", ".join(f"{count:,} {_FORMS[form]}" for form, count in counts.items() if count)
    said = (
        f"{kept:,} of {blocks:,} blocks stay ({numbers.percent(kept / blocks if blocks else None)}) in "
        f"{len(report.tiles):,} layer{'' if len(report.tiles) == 1 else 's'}, computed: {computed}."
    )
    maps = [_map(t) for t in report.tiles if any(t.map)]
    parts: list[Markup | None] = [paragraphs(said), _table(report.tiles)]
    if maps:
        parts.append(tag("h3", "Maps"))
        parts.append(
            paragraphs("Columns are tiles of outputs, rows are blocks of inputs; a full square stays.", kind="under")
        )
        parts.append(tag("div", *maps[:_FEW_MAPS], class_="maps"))
        if maps[_FEW_MAPS:]:
            more = tag("div", *maps[_FEW_MAPS:], class_="maps")
            parts.append(folded(f"Maps of {len(maps) - _FEW_MAPS:,} more layers", more))
    parts.append(_orders(report.orders))
    return Section("tiles", "Tiles kept", join(parts))


def _tiles(record: TileRecord) -> int:
    return -(-record.outputs // record.tile) if record.tile else 0


def _table(records: Sequence[TileRecord]) -> Markup:
    rows = [
        (
            t.node,
            f"{t.inputs} × {t.outputs}",
            t.pattern or f"{t.block} × {t.tile}",
            f"{t.kept} of {t.blocks}",
            numbers.percent(t.kept / t.blocks if t.blocks else None),
            t.form,
            numbers.ratio(t.ratio) if t.ratio is not None else missing(),
        )
        for t in records
    ]
    head = ("layer", "inputs × outputs", "block", "blocks per tile", "density", "computed", "time")
    under = "Time: of the layer alone, as it is computed, over its time dense."
    reasons: dict[str, list[str]] = {}
    for t in records:
        if t.reason:
            reasons.setdefault(t.reason, []).append(t.node)
    told = [f"Dense, since {why}: {_some(names)}." for why, names in reasons.items()]
    return join(
        (
            table("Tiled layers", head, rows, words=(5,), kind="named sortable", loud=False),
            paragraphs(under, *told, kind="under"),
        )
    )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_FEW_NAMES])
    return f"{shown} and {len(names) - _FEW_NAMES:,} more" if len(names) > _FEW_NAMES else shown


def _map(record: TileRecord) -> Markup:
    columns = [[1.0 if letter == "#" else 0.0 for letter in text] for text in record.map]
    high = max(map(len, columns))
    grid = [[column[row] if row < len(column) else 0.0 for column in columns] for row in range(high)]
    shown = merged(grid, _MOST_SQUARES, _MOST_SQUARES)
    rows, wide = len(shown), len(shown[0])
    side = min(_ROOM / max(rows, wide), 16.0)
    width, height = side * wide, side * rows
    density = numbers.percent(record.kept / record.blocks if record.blocks else None)
    parts = [
        tag("rect", x=_EDGE, y=14, width=width, height=height, class_="track"),
        *squares(shown, _EDGE, 14, width, height, gap=min(1.0, side / 8)),
        tag("rect", x=_EDGE, y=14, width=width, height=height, class_="edge"),
        label(_EDGE, 10, f"{len(columns)} tiles", "tick", "start"),
        tag("text", f"{high} blocks", class_="tick", transform=f"translate(12 {14 + height:.1f}) rotate(-90)"),
    ]
    said = f"Tiles of {record.node}: each of {len(columns)} tiles keeps {record.kept} of {record.blocks} blocks."
    coarse = " Squares stand for several blocks." if shown != grid else ""
    # short columns still leave room for what is written along the side
    tall = max(height, 52.0) + 20
    drawing = svg(parts, said, width=max(width + _EDGE + 4, 96.0), height=tall, kind="map")
    return figure(record.node, drawing, under=f"{record.operator}, density {density}.{coarse}")


def _orders(orders: Sequence[OrderRecord]) -> Markup | None:
    moved = [record for record in orders if any(place != channel for place, channel in enumerate(record.order))]
    if not moved:
        return None
    rows = [
        (r.group, str(len(r.order)), str(sum(place != channel for place, channel in enumerate(r.order)))) for r in moved
    ]
    drawn = [_permutation(record) for record in moved[:_FEW_MAPS]]
    return join(
        (
            tag("h3", "Order of channels"),
            paragraphs(
                "Channels changed places so that small weights meet in the blocks that go. Outputs stay the same."
            ),
            table("Channels that changed places", ("group", "channels", "moved"), rows, kind="named", loud=False),
            folded("Where each channel went", charts(*drawn)),
        )
    )


def _permutation(record: OrderRecord) -> Markup:
    count = len(record.order)
    left, top, size = 40.0, 8.0, 160.0
    radius = max(0.6, min(2.5, size / count / 2))
    step = size / max(count - 1, 1)
    dots = "".join(
        f"M{left + channel * step:.1f} {top + place * step:.1f}h0" for place, channel in enumerate(record.order)
    )
    parts = [
        tag("rect", x=left - 4, y=top - 4, width=size + 8, height=size + 8, class_="edge"),
        tag("path", d=dots, class_="dots", stroke_width=2 * radius),
        label(left + size, top + size + 20, "channel of the original", "axis", "end"),
        label(left - 8, top + 8, "0", "tick", "end"),
        label(left - 8, top + size, str(count - 1), "tick", "end"),
        tag("text", "place", class_="axis", transform=f"translate(14 {top + size / 2 + 14:.1f}) rotate(-90)"),
    ]
    moved = sum(place != channel for place, channel in enumerate(record.order))
    said = f"Order of the {count} channels of {record.group}: {moved} changed places."
    return figure(
        record.group,
        svg(parts, said, width=212, height=top + size + 28, kind="map"),
        under=f"{moved} of {count} moved.",
    )
