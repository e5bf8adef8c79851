"""Einsum: out[o…] = Σ_{c…} Π_k operand_k[…], one letter per axis.

A letter is one axis, wherever it stands: all its places hold the same channels. Letters that the
output lacks are summed over, so the product must be zero at their masked channels. A letter that
one operand holds twice takes a diagonal, which keeps the same index on both axes; axes behind an
ellipsis are letters counted from the right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.axes import Axis, Poly, leaves, pin, unify
from onnxprune.core.group import Role
from onnxprune.ops.base import (
    AxisContext,
    AxisList,
    Mask,
    MaskContext,
    OpRule,
    SizeContext,
    TwinContext,
    describe,
    open_atoms,
)
from onnxprune.ops.common import product_mask
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    from onnxprune.ops.base import TorchFunction

__all__ = ["Einsum"]

_ELLIPSIS = "."


def _terms(node: gs.Node) -> tuple[list[str], str]:
    """Returns the term of each operand and that of the output, an ellipsis as one dot."""
    text = "".join(str(node.attrs["equation"]).split()).replace("...", _ELLIPSIS)
    left, arrow, right = text.partition("->")
    if not arrow:
        once = [letter for letter in sorted(set(left) - {",", _ELLIPSIS}) if left.count(letter) == 1]
        right = (_ELLIPSIS if _ELLIPSIS in left else "") + "".join(once)
    return left.split(","), right


def _letters(term: str, rank: int) -> list[str]:
    """Returns the letter of each of `rank` axes; those behind an ellipsis are .2, .1 and so on."""
    behind = rank - len(term.replace(_ELLIPSIS, ""))
    found: list[str] = []
    for letter in term:
        found += [f"{_ELLIPSIS}{i}" for i in range(behind, 0, -1)] if letter == _ELLIPSIS else [letter]
    return found


def _summed(letter: str, output: str) -> bool:
    return letter[0] not in output


@register_op
class Einsum(OpRule):
    """Sums of products by an equation."""

    names = ("Einsum",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        terms, output = _terms(node)
        found: dict[str, AxisList] = {}
        for tensor, term in zip(node.inputs, terms, strict=True):
            x = ctx.axes(tensor.name)
            for letter, axis in zip(_letters(term, len(x)), x, strict=True):
                found.setdefault(letter, []).append(axis)
        joined: dict[str, Axis] = {}
        for letter, places in found.items():
            size = max(axis.size for axis in places)
            full = [axis for axis in places if axis.size == size]  # size one broadcasts
            for other in full[1:]:
                unify(full[0], other, describe(node))
            joined[letter] = full[0]
            ctx.note(node, letter, full[0])
        return [[joined[letter] for letter in _letters(output, len(ctx.shape(node.outputs[0].name)))]]

    def masked(self, node: gs.Node, ctx: MaskContext) -> None:
        terms, output = _terms(node)
        names = [t.name for t in node.inputs]
        summed = [
            axis
            for name, term in zip(names, terms, strict=True)
            for letter, axis in zip(_letters(term, len(ctx.axes(name))), ctx.axes(name), strict=True)
            if _summed(letter, output)
        ]
        for atom in dict.fromkeys(atom for axis in summed for atom in leaves(axis)):
            if not atom.pinned and product_mask([ctx.state(name, atom) for name in names]) is not Mask.ZERO:
                pin(atom, f"{describe(node)} sums over channels that are not zero where masked")
        for atom in open_atoms(ctx, node.outputs[0].name):
            ctx.set(node.outputs[0].name, atom, product_mask([ctx.state(name, atom) for name in names]))

    def role(self, node: gs.Node, slot: int, axis: int, rank: int) -> Role:
        terms, output = _terms(node)
        letters = _letters(terms[slot], rank)
        if _summed(letters[axis], output):
            return "consumer"
        # an operand of which nothing is summed only scales channels
        return "producer" if any(_summed(letter, output) for letter in letters) else "vector"

    def macs(self, node: gs.Node, ctx: SizeContext) -> Poly:
        if len(node.inputs) == 1:
            return Poly.constant(0)
        terms, _ = _terms(node)
        letters = [
            letter
            for tensor, term in zip(node.inputs, terms, strict=True)
            for letter in _letters(term, len(ctx.sizes(tensor.name)))
        ]
        return Poly.product([ctx.noted(node, letter) for letter in dict.fromkeys(letters)])

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        equation = str(node.attrs["equation"])
        return lambda *xs: torch.einsum(equation, *xs)
