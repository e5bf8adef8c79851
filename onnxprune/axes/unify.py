"""Equating and refining axis expressions.

`unify(a, b)` makes two axes the same expression; `split_at` and `factor` refine one axis into
a Sum or a Prod. All three act by binding atoms, so every other axis that holds the atom sees
the refinement. What cannot be expressed is pinned with the reason; nothing is guessed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from onnxprune.axes.expr import Atom, Axis, Prod, Sum, leaves, pin, product, resolve, total

__all__ = ["factor", "split", "split_at", "unify"]

UNIT = "an axis of size one has no channels to drop"


def split_at(axis: Axis, offset: int) -> tuple[Axis, Axis]:
    """Returns the two parts of `axis` before and from `offset`, 0 < offset < size."""
    axis = resolve(axis)
    if isinstance(axis, Atom):
        head, tail = Atom(offset), Atom(axis.size - offset)
        head.absorb(axis)
        tail.absorb(axis)
        axis.bound = Sum([head, tail])
        return head, tail
    if isinstance(axis, Sum):
        return _split_sum(axis, offset)
    return _split_prod(axis, offset)


def _split_sum(axis: Sum, offset: int) -> tuple[Axis, Axis]:
    before: list[Axis] = []
    after: list[Axis] = []
    position = 0
    for part in list(axis.parts):
        if position + part.size <= offset:
            before.append(part)
        elif position >= offset:
            after.append(part)
        else:
            head, tail = split_at(part, offset - position)
            before.append(head)
            after.append(tail)
        position += part.size
    return total(before), total(after)


def _split_prod(axis: Prod, offset: int) -> tuple[Axis, Axis]:
    outer, inner = axis.parts[0], product(*axis.parts[1:])
    rows, rest = divmod(offset, inner.size)
    if rest == 0:
        head, tail = split_at(outer, rows)
        return product(head, inner), product(tail, inner)
    sizes = (rows, 1, outer.size - rows - 1)
    above, row, below = split(outer, sizes)
    left, right = split_at(inner, rest)
    assert row is not None  # its size is one
    before = ([product(above, inner)] if above is not None else []) + [product(row, left)]
    after = [product(row, right)] + ([product(below, inner)] if below is not None else [])
    return total(before), total(after)


def split(axis: Axis, sizes: Sequence[int]) -> list[Axis | None]:
    """Returns consecutive parts of `axis` with the given sizes; None where a size is 0."""
    parts: list[Axis | None] = []
    rest: Axis | None = axis
    for size in sizes:
        if size == 0 or rest is None:
            parts.append(None)
        elif size == rest.size:
            parts.append(rest)
            rest = None
        else:
            head, rest = split_at(rest, size)
            parts.append(head)
    return parts


def factor(axis: Axis, inner: int) -> tuple[Axis, Axis] | None:
    """Returns (outer, inner) axes whose product is `axis`, the inner one of size `inner`.

    None when the structure of `axis` does not allow it.
    """
    axis = resolve(axis)
    if axis.size == inner:
        return Atom(1, UNIT), axis
    if inner == 1:
        return axis, Atom(1, UNIT)
    if axis.size % inner:
        return None
    if isinstance(axis, Atom):
        outer_atom, inner_atom = Atom(axis.size // inner), Atom(inner)
        outer_atom.absorb(axis)
        inner_atom.absorb(axis)
        axis.bound = Prod([outer_atom, inner_atom])
        return outer_atom, inner_atom
    if isinstance(axis, Prod):
        return _factor_prod(axis, inner)
    return _factor_sum(axis, inner)


def _factor_prod(axis: Prod, inner: int) -> tuple[Axis, Axis] | None:
    outer_parts, inner_parts = list(axis.parts), list[Axis]()
    size = 1
    while size < inner:
        part = outer_parts.pop()
        if inner % (size * part.size) == 0:
            inner_parts.insert(0, part)
            size *= part.size
            continue
        need, ragged = divmod(inner, size)
        pair = None if ragged or part.size % need else factor(part, need)
        if pair is None:
            return None
        outer_parts.append(pair[0])
        inner_parts.insert(0, pair[1])
        size *= need
    return product(*outer_parts) if outer_parts else Atom(1, UNIT), product(*inner_parts)


def _factor_sum(axis: Sum, inner: int) -> tuple[Axis, Axis] | None:
    if any(part.size % inner for part in axis.parts):
        return None
    pairs = [factor(part, inner) for part in list(axis.parts)]
    good = [pair for pair in pairs if pair is not None]
    if len(good) < len(pairs):
        return None
    for _, low in good[1:]:
        unify(good[0][1], low)
    return total([high for high, _ in good]), good[0][1]


def unify(a: Axis, b: Axis, where: str = "two axes") -> None:
    """Makes `a` and `b` one expression, refining both as far as needed.

    Args:
        a: An axis.
        b: Another axis of the same size.
        where: Names the operator, for the reason kept when the two cannot be matched.
    """
    a, b = resolve(a), resolve(b)
    if a is b:
        return
    if a.size != b.size:
        _pin_both(a, b, f"{where} joins axes of different sizes ({a.size} and {b.size})")
    elif isinstance(a, Atom):
        _bind(a, b, where)
    elif isinstance(b, Atom):
        _bind(b, a, where)
    elif isinstance(a, Sum) and isinstance(b, Sum):
        _unify_sums(a, b, where)
    elif isinstance(a, Prod) and isinstance(b, Prod):
        _unify_prods(a, b, where)
    elif isinstance(a, Sum):
        _unify_sum_with_prod(a, b, where)
    elif isinstance(b, Sum):
        _unify_sum_with_prod(b, a, where)


def _pin_both(a: Axis, b: Axis, reason: str) -> None:
    pin(a, reason)
    pin(b, reason)


def _bind(atom: Atom, axis: Axis, where: str) -> None:
    members = leaves(axis)
    if any(leaf is atom for leaf in members):
        pin(axis, f"{where} equates an axis with a part of itself")
        return
    for leaf in members:
        leaf.absorb(atom)
    atom.bound = axis


def _unify_sums(a: Sum, b: Sum, where: str) -> None:
    left, right = list(reversed(a.parts)), list(reversed(b.parts))
    while left and right:
        p, q = resolve(left.pop()), resolve(right.pop())
        # unifying an earlier pair may have refined what is on the stacks into a nested Sum
        if isinstance(p, Sum):
            left.extend(reversed(p.parts))
            right.append(q)
            continue
        if isinstance(q, Sum):
            right.extend(reversed(q.parts))
            left.append(p)
            continue
        if p.size > q.size:
            p, rest = split_at(p, q.size)
            left.append(rest)
        elif q.size > p.size:
            q, rest = split_at(q, p.size)
            right.append(rest)
        unify(p, q, where)


def _unify_prods(a: Prod, b: Prod, where: str) -> None:
    left, right = list(a.parts), list(b.parts)
    while left and right:
        p, q = resolve(left.pop()), resolve(right.pop())
        if isinstance(p, Prod):
            left.extend(p.parts)
            right.append(q)
            continue
        if isinstance(q, Prod):
            right.extend(q.parts)
            left.append(p)
            continue
        if p.size == q.size:
            unify(p, q, where)
            continue
        common = math.gcd(p.size, q.size)
        p_pair, q_pair = factor(p, common), factor(q, common)
        if common == 1 or p_pair is None or q_pair is None:
            _pin_both(a, b, f"{where} regroups a flattened axis in a way that has no common factors")
            return
        if p_pair[0].size > 1:
            left.append(p_pair[0])
        if q_pair[0].size > 1:
            right.append(q_pair[0])
        unify(p_pair[1], q_pair[1], where)
    for rest in left + right:
        pin(rest, UNIT)


def _unify_sum_with_prod(a: Sum, b: Axis, where: str) -> None:
    rest = b
    parts = list(a.parts)
    for i, part in enumerate(parts):
        if i == len(parts) - 1:
            unify(part, rest, where)
            return
        head, rest = split_at(rest, part.size)
        unify(part, head, where)
