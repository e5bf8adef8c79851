"""RotaryEmbedding: pairs of channels of a head are turned by an angle that grows with the position.

The first r channels of a head are r/2 pairs (a, b), cut as Prod(2, r/2) or, interleaved, Prod(r/2, 2):

    a' = cos · a − sin · b        b' = sin · a + cos · b

The tables cos and sin hold one channel for each pair, so a pair goes as a whole, with its column of the tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import Atom, Axis, pin, product, split, unify
from onnxprune.ops.base import (
    AxisContext,
    AxisList,
    Edit,
    Mask,
    MaskContext,
    OpRule,
    TwinContext,
    attribute,
    describe,
    input_name,
    open_atoms,
)
from onnxprune.ops.common import pin_input
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["ContribRotaryEmbedding", "RotaryEmbedding", "pair_up", "rotate"]

HEADS, ROTATED = "heads", "rotated channels"


def pair_up(node: gs.Node, channels: Axis, interleaved: bool, tables: list[AxisList]) -> Axis | None:
    """Cuts the channels of a head into pairs that share a column of the tables.

    Args:
        node: The rotating node.
        channels: The channels of one head; those behind the pairs are not rotated.
        interleaved: Whether the two of a pair stand side by side.
        tables: Axes of the tables, one column for each pair.

    Returns:
        The rotated channels; None where sizes do not fit and everything was pinned.
    """
    where = describe(node)
    count = tables[0][-1].size
    for table in tables[1:]:
        unify(tables[0][-1], table[-1], where)
    if 2 * count > channels.size:
        for axis in (channels, tables[0][-1]):
            pin(axis, f"{where} has {count} angles for a head of {channels.size} channels")
        return None
    pair = Atom(2, f"{where} turns pairs of channels")
    rotated = split(channels, [2 * count, channels.size - 2 * count])[0]
    assert rotated is not None  # a table has at least one column
    pairs = tables[0][-1]
    unify(rotated, product(pairs, pair) if interleaved else product(pair, pairs), where)
    return rotated


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, interleaved: bool) -> torch.Tensor:
    """Returns x with the first channels of each head turned.

    Args:
        x: [.., channel].
        cos: Broadcast to [.., pair].
        sin: The same.
        interleaved: Whether the two of a pair stand side by side.
    """
    import torch

    width = 2 * cos.shape[-1]
    turned, rest = x[..., :width], x[..., width:]
    a, b = (turned[..., 0::2], turned[..., 1::2]) if interleaved else turned.chunk(2, -1)
    parts = [cos * a - sin * b, sin * a + cos * b]
    turned = torch.stack(parts, -1).flatten(-2) if interleaved else torch.cat(parts, -1)
    return torch.cat([turned, rest], -1)


@register_op
class RotaryEmbedding(OpRule):
    """Of the standard: tables [position, pair] with position_ids, or [batch, position, pair] without."""

    names = ("RotaryEmbedding",)
    since = 23
    slots = (1, 2, 3)
    """Where cos, sin and position_ids stand."""

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        x = ctx.axes(node.inputs[0].name)
        tables = [ctx.axes(node.inputs[slot].name) for slot in self.slots[:2]]
        self._match_positions(node, ctx, x, tables)
        if len(x) == 4:
            heads, channels = x[1], x[3]
        else:
            # onnxruntime's own operator takes the size of a head from the tables where it is not told the count
            count = int(attribute(node, "num_heads", 0)) or x[2].size // (2 * tables[0][-1].size)
            heads, channels = Atom(count), Atom(x[2].size // count)
            unify(product(heads, channels), x[2], describe(node))
        rotated = pair_up(node, channels, bool(attribute(node, "interleaved", 0)), tables)
        if rotated is not None:
            ctx.note(node, HEADS, heads)
            ctx.note(node, ROTATED, rotated)
        return [list(x)]

    def _match_positions(self, node: gs.Node, ctx: AxisContext, x: AxisList, tables: list[AxisList]) -> None:
        where = describe(node)
        positions = ctx.axes(input_name(node, self.slots[2]))
        if len(positions) == 2:  # one for each token, so tokens stay with theirs
            unify(positions[0], x[0], where)
            unify(positions[1], x[-2] if len(x) == 4 else x[1], where)
        pin_input(node, self.slots[2], ctx, "reads it as positions")
        for table in tables:
            if len(table) == 3:
                unify(table[0], x[0], where)
                unify(table[1], x[-2] if len(x) == 4 else x[1], where)
            else:
                pin(table[0], f"{where} looks positions up along this axis")

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        x, output = node.inputs[0].name, node.outputs[0].name
        for atom in open_atoms(ctx, output):
            ctx.set(output, atom, Mask.ZERO if ctx.state(x, atom) is Mask.ZERO else Mask.FINITE)

    def repair(self, node: gs.Node, edit: Edit) -> None:
        for name, key in (("num_heads", HEADS), ("rotary_embedding_dim", ROTATED)):
            axis = edit.noted(node, key)
            if axis is not None and attribute(node, name, 0):
                node.attrs[name] = int(edit.keep(axis).sum())

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        interleaved = bool(attribute(node, "interleaved", 0))
        heads = int(attribute(node, "num_heads", 0))
        at_cos, at_sin, at_positions = self.slots

        def rotary_embedding(x: torch.Tensor, *given: torch.Tensor) -> torch.Tensor:
            cos, sin = given[at_cos - 1], given[at_sin - 1]
            positions = given[at_positions - 1] if len(given) >= at_positions else None
            if positions is not None:
                places = _places(positions, x.shape[-2] if x.dim() == 4 else x.shape[1])
                cos, sin = cos[places], sin[places]
            if x.dim() == 4:
                return rotate(x, cos.unsqueeze(1), sin.unsqueeze(1), interleaved)
            count = heads or x.shape[-1] // (2 * cos.shape[-1])
            wide = x.reshape(*x.shape[:-1], count, x.shape[-1] // count)
            return rotate(wide, cos.unsqueeze(2), sin.unsqueeze(2), interleaved).flatten(2)

        return rotary_embedding


def _places(positions: torch.Tensor, length: int) -> torch.Tensor:
    """Returns int64 [batch or 1, length]; a single number is where the first token stands."""
    import torch

    positions = positions.long()
    if positions.dim() == 1:
        return positions[:, None] + torch.arange(length, device=positions.device)
    return positions


@register_op
class ContribRotaryEmbedding(RotaryEmbedding):
    """Of onnxruntime: position_ids come second, as one offset or as [batch, position]."""

    domain = "com.microsoft"
    since = 1
    slots = (2, 3, 1)
