"""What several operator rules share: broadcasting, regrouping, mask arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_graphsurgeon as gs

from onnxprune.axes import Atom, Axis, leaves, pin, product, unify
from onnxprune.ops.base import AxisContext, AxisList, Mask, MaskContext, describe, input_name, open_atoms

__all__ = [
    "SPATIAL",
    "broadcast",
    "constant_entries",
    "fresh",
    "pin_input",
    "product_mask",
    "regroup",
    "set_all",
    "settle_contraction",
    "soften",
    "sum_mask",
]

SPATIAL = "is a spatial axis"


def constant_entries(vector: gs.Tensor, ctx: AxisContext) -> dict[int, float]:
    """Returns position → entry of a vector, for the entries that are constant where it is put together at run time."""
    value = ctx.constant(vector.name)
    if value is not None:
        return dict(enumerate(np.asarray(value).reshape(-1).tolist()))
    producer = vector.inputs[0] if vector.inputs else None
    if producer is None or producer.op != "Concat":
        return {}
    found: dict[int, float] = {}
    position = 0
    for part in producer.inputs:
        value = ctx.constant(part.name)
        if value is not None:
            found |= {position + i: entry for i, entry in enumerate(np.asarray(value).reshape(-1).tolist())}
        position += int(np.prod(ctx.shape(part.name))) if value is None else int(np.size(value))
    return found


def fresh(shape: Sequence[int], reason: str) -> AxisList:
    """Returns new axes of the given sizes, pinned for `reason`."""
    return [Atom(size, reason) for size in shape]


def pin_input(node: gs.Node, slot: int, ctx: AxisContext, reason: str) -> None:
    """Pins every axis of an input that is not data: a shape, an index, a bound."""
    name = input_name(node, slot)
    if name:
        for axis in ctx.axes(name):
            pin(axis, f"{describe(node)} {reason}")


def broadcast(operands: Sequence[AxisList], shape: Sequence[int], where: str) -> AxisList:
    """Returns the axes of a broadcast result, after equating those of the operands.

    Args:
        operands: Axes of each operand.
        shape: Shape of the result.
        where: Names the operator for reasons.
    """
    result: AxisList = []
    rank = len(shape)
    for position, size in enumerate(shape):
        found = [axes[position - rank] for axes in operands if len(axes) >= rank - position]
        full = [axis for axis in found if axis.size == size]
        for other in full[1:]:
            unify(full[0], other, where)
        result.append(full[0] if full else Atom(size, f"{where} stretches an axis"))
    return result


def regroup(axes: AxisList, shape: Sequence[int], where: str) -> AxisList:
    """Returns the axes of a row-major reshape of `axes` to `shape`.

    Runs of input axes whose product equals that of a run of output axes are one flattened
    axis seen twice: Prod(inputs) = Prod(outputs).
    """
    sizes = [axis.size for axis in axes]
    if 0 in sizes or 0 in shape:
        for axis in axes:
            pin(axis, f"{where} reshapes an empty tensor")
        return fresh(shape, f"{where} reshapes an empty tensor")
    result: AxisList = []
    i = j = 0
    while i < len(sizes) or j < len(shape):
        if i < len(sizes) and j < len(shape) and sizes[i] == shape[j]:
            result.append(axes[i])
            i, j = i + 1, j + 1
        elif i < len(sizes) and sizes[i] == 1:
            i += 1
        elif j < len(shape) and shape[j] == 1:
            result.append(Atom(1, "has size one"))
            j += 1
        else:
            i2, j2 = _matching_runs(sizes, shape, i, j)
            outs: AxisList = [Atom(size, "has size one" if size == 1 else None) for size in shape[j:j2]]
            unify(product(*outs), product(*axes[i:i2]), where)
            result.extend(outs)
            i, j = i2, j2
    return result


def _matching_runs(sizes: Sequence[int], shape: Sequence[int], i: int, j: int) -> tuple[int, int]:
    i2, j2 = i + 1, j + 1
    p, q = sizes[i], shape[j]
    while p != q:
        if p < q:
            p *= sizes[i2]
            i2 += 1
        else:
            q *= shape[j2]
            j2 += 1
    assert math.prod(sizes[i:i2]) == math.prod(shape[j:j2])  # the concrete run has both shapes
    return i2, j2


def set_all(node: gs.Node, ctx: MaskContext, mask: Mask) -> None:
    """Says that every output holds `mask` at the masked channels of every atom."""
    for output in node.outputs:
        for atom in open_atoms(ctx, output.name):
            ctx.set(output.name, atom, mask)


def sum_mask(states: Sequence[Mask]) -> Mask:
    """What a sum of terms holds: zero only where every term is zero (and none is absent)."""
    return Mask.ZERO if all(s is Mask.ZERO for s in states) else Mask.FINITE


def soften(axis: Axis, ctx: AxisContext, reason: str) -> None:
    """Keeps every channel of `axis` for `reason`, or lets go approximately where that was asked for."""
    if ctx.exact:
        pin(axis, reason)
        return
    for atom in leaves(axis):
        atom.soft.setdefault(reason)


def product_mask(states: Sequence[Mask]) -> Mask:
    """What a product of finite factors holds: zero where any factor is."""
    return Mask.ZERO if any(s is Mask.ZERO for s in states) else Mask.FINITE


def settle_contraction(
    node: gs.Node, ctx: MaskContext, a: str, a_axes: Sequence[Axis], b: str, extra: Sequence[str] = ()
) -> None:
    """Settles the masks of out = Σ a·b (+ extra): a dropped term must be zero.

    Args:
        node: The contracting node, with one output.
        ctx: Mask states.
        a: First operand.
        a_axes: The contracted axes of `a`.
        b: Second operand.
        extra: Names of added terms, such as a bias.
    """
    for axis in a_axes:
        for atom in _open(axis):
            if product_mask([ctx.state(a, atom), ctx.state(b, atom)]) is not Mask.ZERO:
                pin(atom, f"{describe(node)} sums over channels that are not zero where masked")
    output = node.outputs[0].name
    for atom in open_atoms(ctx, output):
        terms = [product_mask([ctx.state(a, atom), ctx.state(b, atom)])]
        terms += [ctx.state(name, atom) for name in extra]
        ctx.set(output, atom, sum_mask(terms))


def _open(axis: Axis) -> list[Atom]:
    return [atom for atom in dict.fromkeys(leaves(axis)) if not atom.pinned]
