"""LSTM, GRU and RNN: hidden units.

    W [directions, Prod(gates, h), inputs]   R [directions, Prod(gates, h), h]
    B [directions, Prod(2·gates, h)]         P [directions, Prod(3, h)]

All directions and gates lose the same units. A unit whose weights are all zero has the state of

    LSTM: c ← f c + i g(0), h ← o h(c)      GRU: h ← (1 − z) g(0) + z h      RNN: h ← f(0)

so it stays at zero where it starts at zero and the activations keep zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import onnx_graphsurgeon as gs

from onnxprune.axes import Atom, Axis, Poly, leaves, pin, product, unify
from onnxprune.core.group import Role
from onnxprune.ops.base import (
    AxisContext,
    AxisList,
    Edit,
    Mask,
    MaskContext,
    OpRule,
    SizeContext,
    TwinContext,
    attribute,
    describe,
    input_name,
    open_atoms,
)
from onnxprune.ops.common import product_mask, sum_mask
from onnxprune.ops.gate_activation import gate_activations
from onnxprune.ops.recurrent_twin import Cell, GruCell, LstmCell, RnnCell, recurrent_function
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    from onnxprune.ops.base import TorchFunction

__all__ = ["GRU", "LSTM", "RNN"]

X, W, R, B, LENGTHS, H, C, P = range(8)
PEEPHOLES = 3


class _Recurrent(OpRule):
    """What the three have in common."""

    since = 7
    activations: ClassVar[tuple[str, ...]]
    at_rest: ClassVar[tuple[int, ...]]
    """The activations that a unit at rest takes to its state."""
    cell: ClassVar[type[Cell]]

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        x, w, r = (ctx.axes(node.inputs[slot].name) for slot in (X, W, R))
        where, hidden = describe(node), r[2]
        batch_first = bool(attribute(node, "layout", 0))
        time, batch = (x[1], x[0]) if batch_first else (x[0], x[1])
        pin(time, f"{where} runs along this axis")
        gates = w[1].size // hidden.size
        unify(w[2], x[2], where)
        for axis, count in ((w[1], gates), (r[1], gates)):
            unify(axis, self._stacked(node, count, hidden), where)
        directions = [w[0], r[0]]
        for slot, count in ((B, 2 * gates), (P, PEEPHOLES)):
            if input_name(node, slot):
                lead, stacked = ctx.axes(input_name(node, slot))
                directions.append(lead)
                unify(stacked, self._stacked(node, count, hidden), where)
        states = [ctx.axes(input_name(node, slot)) for slot in (H, C) if input_name(node, slot)]
        for state in states:
            unify(state[2], hidden, where)
            unify(state[0 if batch_first else 1], batch, where)
            directions.append(state[1 if batch_first else 0])
        if input_name(node, LENGTHS):
            unify(ctx.axes(input_name(node, LENGTHS))[0], batch, where)
        for axis in directions:
            pin(axis, f"{where} has weights of its own for each direction")
        return self._outputs(node, time, batch, w[0], hidden)

    @staticmethod
    def _stacked(node: gs.Node, count: int, hidden: Axis) -> Axis:
        return product(Atom(count, f"{describe(node)} stacks its gates on this axis"), hidden)

    @staticmethod
    def _outputs(node: gs.Node, time: Axis, batch: Axis, directions: Axis, hidden: Axis) -> list[AxisList]:
        if attribute(node, "layout", 0):
            every, last = [batch, time, directions, hidden], [batch, directions, hidden]
        else:
            every, last = [time, directions, batch, hidden], [directions, batch, hidden]
        return [list(every), list(last), list(last)][: len(node.outputs)]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        x, w, r = (node.inputs[slot].name for slot in (X, W, R))
        rests = self._rests(node)
        driven = [w, r, *(input_name(node, slot) for slot in (B, H, C) if input_name(node, slot))]
        held: dict[Atom, Mask] = {}
        for atom in leaves(ctx.axes(r)[2]):
            zero = rests and sum_mask([ctx.state(name, atom) for name in driven]) is Mask.ZERO
            held[atom] = Mask.ZERO if zero else Mask.FINITE
        terms = [(atom, product_mask([ctx.state(w, atom), ctx.state(x, atom)])) for atom in leaves(ctx.axes(w)[2])]
        terms += [(atom, product_mask([ctx.state(r, atom), held[atom]])) for atom in held]
        for atom, term in terms:
            if not atom.pinned and term is not Mask.ZERO:
                pin(atom, f"{describe(node)} sums over channels that are not zero where masked")
        for output in node.outputs:
            for atom in open_atoms(ctx, output.name):
                ctx.set(output.name, atom, held.get(atom, Mask.FINITE))

    @staticmethod
    def _directions(node: gs.Node) -> tuple[bool, ...]:
        """Returns, for each direction, whether it runs backwards."""
        direction = str(attribute(node, "direction", "forward")).lower()
        return (False, True) if direction == "bidirectional" else (direction == "reverse",)

    def _rests(self, node: gs.Node) -> bool:
        each = gate_activations(node, self.activations, len(self._directions(node)))
        return all(functions[i].keeps_zero for functions in each for i in self.at_rest)

    def role(self, node: gs.Node, slot: int, axis: int, rank: int) -> Role:
        if slot not in (W, R) or axis == 0:
            return "vector"
        return "producer" if axis == 1 else "consumer"

    def repair(self, node: gs.Node, edit: Edit) -> None:
        node.attrs["hidden_size"] = int(edit.keep(edit.axes(node.inputs[R].name)[2]).sum())

    def macs(self, node: gs.Node, ctx: SizeContext) -> Poly:
        steps = Poly.product(ctx.sizes(node.inputs[X].name)[:2])
        weights = [Poly.product(ctx.sizes(node.inputs[slot].name)) for slot in (W, R)]
        return steps * Poly.sum(weights)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        backwards = self._directions(node)
        activations = gate_activations(node, self.activations, len(backwards))
        cells = [self.cell.of(node, functions) for functions in activations]
        return recurrent_function(node, cells, backwards)


@register_op
class LSTM(_Recurrent):
    """Long short-term memory: gates i, o, f, c."""

    names = ("LSTM",)
    activations = ("Sigmoid", "Tanh", "Tanh")
    at_rest = (1, 2)
    cell = LstmCell


@register_op
class GRU(_Recurrent):
    """Gated recurrent unit: gates z, r, h."""

    names = ("GRU",)
    activations = ("Sigmoid", "Tanh")
    at_rest = (1,)
    cell = GruCell


@register_op
class RNN(_Recurrent):
    """Elman's recurrent layer: no gates."""

    names = ("RNN",)
    activations = ("Tanh",)
    at_rest = (0,)
    cell = RnnCell
