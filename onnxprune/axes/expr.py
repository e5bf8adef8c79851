"""Axis expressions: what an axis of a tensor is made of.

Every axis is one of

    Atom(n)             n channels without inner structure,
    Prod(outer, …)      a flattened axis, outer index slowest,
    Sum(part, …)        a concatenated axis.

Operators never look at channels; they only equate and refine these expressions, the way type
inference equates and refines types. When all operators of a graph have spoken, an atom that
nothing pinned is a set of channels that live and die together, and the kept indices of any
axis follow from its atoms: a Kronecker product for Prod, a concatenation for Sum.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

__all__ = ["Atom", "Axis", "Prod", "Sum", "leaves", "pin", "product", "resolve", "total"]

MAX_REASONS = 6


class Atom:
    """An axis without inner structure, until it is bound to another expression.

    Attributes:
        size: Number of channels.
        reasons: Why the channels must stay, in the order found (at most `MAX_REASONS`).
        soft: Why removing channels would only be approximate; empty when exact.
        bound: The expression this atom was found to be, or None.
    """

    __slots__ = ("bound", "reasons", "size", "soft")

    def __init__(self, size: int, reason: str | None = None) -> None:
        self.size = size
        self.reasons: dict[str, None] = {reason: None} if reason else {}
        self.soft: dict[str, None] = {}
        self.bound: Axis | None = None

    @property
    def pinned(self) -> bool:
        """Whether the channels must all stay."""
        return bool(self.reasons)

    def add_reasons(self, reasons: Iterator[str] | Sequence[str] | dict[str, None]) -> None:
        """Notes why the channels must stay."""
        for reason in reasons:
            if len(self.reasons) >= MAX_REASONS:
                return
            self.reasons.setdefault(reason)

    def absorb(self, other: Atom) -> None:
        """Takes over the reasons that hold for `other`."""
        self.add_reasons(other.reasons)
        self.soft.update(other.soft)

    def __repr__(self) -> str:
        return f"Atom({self.size}{', pinned' if self.pinned else ''})"


class Prod:
    """A flattened axis: `parts` from the outermost (slowest) to the innermost."""

    __slots__ = ("parts", "size")

    def __init__(self, parts: Sequence[Axis]) -> None:
        self.parts: list[Axis] = list(parts)
        self.size: int = math.prod(p.size for p in parts)

    def __repr__(self) -> str:
        return f"Prod({', '.join(repr(resolve(p)) for p in self.parts)})"


class Sum:
    """A concatenated axis: `parts` in order."""

    __slots__ = ("parts", "size")

    def __init__(self, parts: Sequence[Axis]) -> None:
        self.parts: list[Axis] = list(parts)
        self.size: int = sum(p.size for p in parts)

    def __repr__(self) -> str:
        return f"Sum({', '.join(repr(resolve(p)) for p in self.parts)})"


Axis = Atom | Prod | Sum


def resolve(axis: Axis) -> Axis:
    """Returns what `axis` is by now: bindings followed, nested Prods and Sums flattened."""
    trail: list[Atom] = []
    while isinstance(axis, Atom) and axis.bound is not None:
        trail.append(axis)
        axis = axis.bound
    for atom in trail[:-1]:
        atom.bound = axis
    if isinstance(axis, Atom):
        return axis
    if len(axis.parts) > 1 and all(type(part) is Atom and part.bound is None for part in axis.parts):
        return axis  # flat already; the loop below would only copy it
    kind = type(axis)
    flat: list[Axis] = []
    for part in axis.parts:
        part = resolve(part)
        if not isinstance(part, Atom) and type(part) is kind:
            flat.extend(part.parts)
        else:
            flat.append(part)
    axis.parts = flat
    return flat[0] if len(flat) == 1 else axis


def product(*parts: Axis) -> Axis:
    """Returns the flattened axis of `parts`; unit parts vanish."""
    real = [p for p in parts if p.size != 1]
    if not real:
        return parts[0]
    return real[0] if len(real) == 1 else resolve(Prod(real))


def total(parts: Sequence[Axis]) -> Axis:
    """Returns the concatenation of `parts`."""
    return parts[0] if len(parts) == 1 else resolve(Sum(parts))


def leaves(axis: Axis) -> list[Atom]:
    """Returns the atoms of `axis`, left to right, repeats included."""
    found: list[Atom] = []
    stack: list[Axis] = [axis]
    while stack:
        top = resolve(stack.pop())
        if isinstance(top, Atom):
            found.append(top)
        else:
            stack.extend(reversed(top.parts))
    return found


def pin(axis: Axis, reason: str) -> None:
    """Keeps every channel of `axis`, for `reason`."""
    for atom in leaves(axis):
        atom.add_reasons((reason,))
