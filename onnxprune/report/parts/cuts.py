"""What stays of a model: channels, tiles, and what could not go."""

from __future__ import annotations

from pydantic import Field

from onnxprune.core.tiling import Form
from onnxprune.report.parts.base import Figure, Record

__all__ = ["FormRecord", "FrozenRecord", "GroupRecord", "OrderRecord", "TileRecord"]


class GroupRecord(Record):
    """A group of coupled channels; `macs_share` is the share of all MACs it runs through.

    `approximate` says why removing its channels changes a statistic; "" where removal is exact.
    """

    name: str
    size: int
    kept: int
    alignment: int | None = None
    macs_share: Figure = None
    approximate: str = ""


class FormRecord(Record):
    """Time of a tiled layer alone in one form over its time dense, with its 95 % interval and IQR."""

    form: Form
    ratio: Figure
    ratio_low: Figure = None
    ratio_high: Figure = None
    ratio_iqr: Figure = None


class TileRecord(Record):
    """A weight that was cut into tiles: how it is cut, what stays, and how it is computed.

    `kept` of the `blocks` blocks of inputs stay in each tile of outputs; `map` has a text for each tile, with a letter
    for each block: "#" stays, "." goes. `form` is how it is computed: "kernel", by a block-sparse operator that a
    kernel computes where the library is registered; "body", by the same in standard operators; "densify", dense, with
    the weight stored packed and expanded when a session loads the model; or "dense". `ratio` is the time of the layer
    alone in that form over its time dense, with its 95 % interval; null where that was not measured. `forms` holds the
    same of all forms that were timed.
    """

    node: str
    weight: str
    operator: str
    inputs: int
    outputs: int
    block: int
    tile: int
    blocks: int
    kept: int
    pattern: str = Field("", description='"2:4" where every output keeps 2 of each 4 inputs; empty for tiles.')
    form: Form
    ratio: Figure = None
    ratio_low: Figure = None
    ratio_high: Figure = None
    forms: tuple[FormRecord, ...] = ()
    reason: str = Field("", description="Why no block-sparse operator computes it; empty when one does.")
    map: tuple[str, ...] = ()


class OrderRecord(Record):
    """The order that tiles gave to the channels of a group: `order[i]` is the channel of the original at place i."""

    group: str
    order: tuple[int, ...]


class FrozenRecord(Record):
    """Channels that stay as they are, the weight axes concerned, and why.

    `chains` are the reasons, each after the operators that lead from the weight to it.
    """

    name: str
    size: int
    members: tuple[str, ...] = ()
    reasons: tuple[str, ...]
    chains: tuple[str, ...] = ()
