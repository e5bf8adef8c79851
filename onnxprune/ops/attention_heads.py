"""What all attention operators share: how channels fall into heads, and what masks do to them.

With kv key-value heads that serve rep query heads each, and heads of d (key) and e (value) channels,

    Q hidden = Prod(kv, rep, d)    K hidden = Prod(kv, d)    V hidden = Prod(kv, e)
    Y hidden = Prod(kv, rep, e)

because query head h reads key-value head ⌊h / rep⌋, in the standard and in onnxruntime alike. rep = 1 is
plain multi-head attention, kv = 1 multi-query attention. The scores are scale · Q Kᵀ with scale = 1/√d by
default: dropping channels of a head must not change it, so it is written out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from onnxprune.axes import Atom, Axis, Poly, leaves, pin, product, unify
from onnxprune.ops.base import (
    AxisContext,
    AxisList,
    Edit,
    Mask,
    MaskContext,
    SizeContext,
    describe,
    input_name,
    open_atoms,
)
from onnxprune.ops.common import broadcast, fresh, pin_input, product_mask, sum_mask

__all__ = [
    "Heads",
    "all_keys",
    "attention_macs",
    "equate",
    "freeze_attention",
    "keep_scale",
    "kept_heads",
    "match_past",
    "merge_mask",
    "note_heads",
    "settle_attention",
    "state_of",
]

CONTRIB = "com.microsoft"
KV, REPEATS, KEY, TOTAL = "kv heads", "repeats", "key channels", "positions"
State = Callable[[Atom], Mask]


@dataclass(frozen=True)
class Heads:
    """The axes that heads are made of.

    Attributes:
        kv: Key-value heads.
        repeats: Query heads per key-value head.
        key: Channels of a query and key head.
        value: Channels of a value head.
    """

    kv: Axis
    repeats: Axis
    key: Axis
    value: Axis

    @classmethod
    def of(cls, query_heads: int, kv_heads: int, key: int, value: int) -> Heads:
        """Returns new axes of the given sizes."""
        return cls(Atom(kv_heads), Atom(query_heads // kv_heads), Atom(key), Atom(value))

    @property
    def query(self) -> Axis:
        """All query heads."""
        return product(self.kv, self.repeats)

    @property
    def query_hidden(self) -> Axis:
        """The flat axis of queries."""
        return product(self.kv, self.repeats, self.key)

    @property
    def key_hidden(self) -> Axis:
        """The flat axis of keys."""
        return product(self.kv, self.key)

    @property
    def value_hidden(self) -> Axis:
        """The flat axis of values."""
        return product(self.kv, self.value)

    @property
    def hidden(self) -> Axis:
        """The flat axis of the output."""
        return product(self.kv, self.repeats, self.value)


def equate(where: str, *axes: Axis) -> None:
    """Makes several axes one."""
    for other in axes[1:]:
        unify(axes[0], other, where)


def note_heads(node: gs.Node, ctx: AxisContext, heads: Heads, total: Axis) -> None:
    """Remembers the heads, and the axis of all key positions, which a softmax needs whole."""
    pin(total, f"{describe(node)} normalises over this axis")
    for key, axis in ((KV, heads.kv), (REPEATS, heads.repeats), (KEY, heads.key), (TOTAL, total)):
        ctx.note(node, key, axis)


def match_past(node: gs.Node, ctx: AxisContext, slots: tuple[int, int], batch: Axis, heads: Heads) -> int:
    """Equates the axes of past keys and values [batch, kv, positions, channels]; returns how many positions they hold.

    Args:
        node: The node.
        ctx: Axes of tensors.
        slots: Inputs of the past keys and values, which may be absent.
        batch: The batch axis.
        heads: The heads.
    """
    where, length = describe(node), 0
    for slot, channels in zip(slots, (heads.key, heads.value), strict=True):
        if input_name(node, slot):
            past = ctx.axes(input_name(node, slot))
            equate(where, batch, past[0])
            equate(where, heads.kv, past[1])
            equate(where, channels, past[3])
            pin(past[2], f"{where} normalises over this axis")
            length = past[2].size
    return length


def all_keys(node: gs.Node, ctx: AxisContext, slots: tuple[int, int], batch: Axis, heads: Heads, keys: Axis) -> Axis:
    """Returns the axis of past and new key positions; arguments are those of `match_past`, and the new keys' axis."""
    past = match_past(node, ctx, slots, batch, heads)
    if not past:
        return keys
    pin(keys, f"{describe(node)} normalises over this axis")
    return Atom(past + keys.size)


def merge_mask(node: gs.Node, slot: int, ctx: AxisContext, scores: Sequence[Axis]) -> None:
    """Equates the axes of a mask or bias with those of the scores [batch, heads, query, key].

    The last axis may be shorter than the scores' and stays whole in any case.
    """
    name = input_name(node, slot)
    if name:
        axes = ctx.axes(name)
        pin(axes[-1], f"{describe(node)} normalises over this axis")
        lead = list(scores[:-1])
        broadcast([lead, axes[:-1]], [axis.size for axis in lead], describe(node))


def freeze_attention(node: gs.Node, ctx: AxisContext, reason: str) -> list[AxisList]:
    """Returns new axes for every output, after pinning every axis of every input for `reason`."""
    for slot in range(len(node.inputs)):
        pin_input(node, slot, ctx, reason)
    return [fresh(ctx.shape(t.name), f"{describe(node)} {reason}") if t.name else [] for t in node.outputs]


def state_of(ctx: MaskContext, *names: str) -> State:
    """Returns what a sum or a concatenation of tensors holds at the masked channels of an atom."""
    present = [name for name in names if name]
    return lambda atom: sum_mask([ctx.state(name, atom) for name in present])


def settle_attention(node: gs.Node, ctx: MaskContext, query: State, key: State, value: State) -> None:
    """Settles the masks: channels of a head are summed over, weighted means of zeros are zero.

    Args:
        node: The node; outputs are Y, then keys, values and scores where given.
        ctx: Mask states.
        query: What the queries hold at an atom.
        key: What all keys hold, past ones included.
        value: What all values hold.
    """
    channels = ctx.noted(node, KEY)
    for atom in dict.fromkeys(leaves(channels)) if channels is not None else ():
        if not atom.pinned and product_mask([query(atom), key(atom)]) is not Mask.ZERO:
            pin(atom, f"{describe(node)} sums over channels that are not zero where masked")
    for output, state in zip(node.outputs, (value, key, value, None), strict=False):
        for atom in open_atoms(ctx, output.name):
            zero = state is not None and state(atom) is Mask.ZERO
            ctx.set(output.name, atom, Mask.ZERO if zero else Mask.FINITE)


def kept_heads(node: gs.Node, edit: Edit) -> tuple[int, int] | None:
    """Returns how many query and key-value heads stay; None for a node that was frozen."""
    kv, repeats = edit.noted(node, KV), edit.noted(node, REPEATS)
    if kv is None or repeats is None:
        return None
    return int(edit.keep(product(kv, repeats)).sum()), int(edit.keep(kv).sum())


def keep_scale(node: gs.Node, edit: Edit) -> None:
    """Writes the default scale 1/√d of the original head out, where a head loses channels."""
    key = edit.noted(node, KEY)
    given = node.attrs.get("scale")
    if node.domain == CONTRIB and given == 0:
        given = None  # onnxruntime's own operators take zero for the default
    if key is not None and given is None and not edit.keep(key).all():
        node.attrs["scale"] = 1.0 / math.sqrt(key.size)


def attention_macs(node: gs.Node, ctx: SizeContext) -> Poly:
    """Returns the MACs of scores and weighted means: positions² · heads · (d + e); 0 for a rare form."""
    if not ctx.has_note(node, TOTAL):
        return Poly.constant(0)
    y = ctx.sizes(node.outputs[0].name)
    heads = ctx.noted(node, KV) * ctx.noted(node, REPEATS)
    places = [y[0], y[1] if len(y) == 3 else y[2], ctx.noted(node, TOTAL)]
    scores = Poly.product([*places, heads, ctx.noted(node, KEY)])
    return scores + Poly.product([*y, ctx.noted(node, TOTAL)])
