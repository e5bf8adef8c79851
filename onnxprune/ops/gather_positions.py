"""What axis a constant list of positions makes of another axis.

Three kinds of lists have words in the algebra:

    a run       4 5 6 7             a part of the axis
    digits      0 4 1 5 2 6 3 7     Prod(2, 4) read as Prod(4, 2): a channel shuffle, a stride, a repeat
    few runs    4 5 6 7 0 1 2 3     the parts between the ends of runs, put together anew: a roll

Any other list would cut the axis into single channels, and single channels are never dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from onnxprune.axes import Atom, Axis, leaves, product, split, total, unify

__all__ = ["picked"]


def picked(axis: Axis, positions: Sequence[int], where: str) -> Axis | None:
    """Returns the axis of the channels at `positions`; None where the algebra has no words for it.

    Args:
        axis: The axis that is read.
        positions: Positions along it, none negative.
        where: Names the operator for reasons.
    """
    if not positions:
        return None
    runs = _runs(positions)
    if len(runs) == 1:
        first, last = runs[0]
        return split(axis, [first, last - first, axis.size - last])[1]
    if all(atom.pinned for atom in leaves(axis)):
        return None
    digits = _digits(positions)
    shuffled = None if digits is None else _shuffled(axis, digits, positions[0], where)
    return _joined(axis, runs) if shuffled is None else shuffled


def _runs(positions: Sequence[int]) -> list[tuple[int, int]]:
    """Returns the maximal runs of consecutive positions as (first, last + 1)."""
    runs: list[tuple[int, int]] = []
    for position in positions:
        if runs and runs[-1][1] == position:
            runs[-1] = (runs[-1][0], position + 1)
        else:
            runs.append((position, position + 1))
    return runs


def _digits(positions: Sequence[int]) -> list[tuple[int, int]] | None:
    """Returns (count, stride) per digit, the slowest first, of positions = first + Σ digit · stride."""
    digits: list[tuple[int, int]] = []
    while len(positions) > 1:
        stride, count = positions[1] - positions[0], 2
        while count < len(positions) and positions[count] - positions[count - 1] == stride:
            count += 1
        blocks = positions[::count]
        expected = [first + stride * i for first in blocks for i in range(count)]
        if stride < 0 or expected != list(positions):
            return None
        digits.insert(0, (count, stride))
        positions = blocks
    return digits


def _shuffled(axis: Axis, digits: Sequence[tuple[int, int]], first: int, where: str) -> Axis | None:
    atoms = [
        Atom(count) if stride else Atom(count, f"{where} repeats channels this many times") for count, stride in digits
    ]
    by_stride = sorted((stride, atom.size, i) for i, ((_, stride), atom) in enumerate(zip(digits, atoms, strict=True)))
    moving = [entry for entry in by_stride if entry[0]]
    if not moving or first >= moving[0][0]:
        return None
    span = moving[0][0]
    factors: list[Axis] = [Atom(span, f"{where} takes every {span}th channel")] if span > 1 else []
    for stride, count, i in moving:
        if stride != span:
            return None
        factors.insert(0, atoms[i])
        span *= count
    if span != axis.size:
        return None
    unify(axis, product(*factors), where)
    return product(*atoms)


def _joined(axis: Axis, runs: Sequence[tuple[int, int]]) -> Axis | None:
    ends = sorted({0, axis.size, *(end for run in runs for end in run)})
    if 2 * (len(ends) - 1) > axis.size:
        return None
    parts = split(axis, [b - a for a, b in pairwise(ends)])
    found = [part for first, last in runs for a, part in zip(ends[:-1], parts, strict=True) if first <= a < last]
    return total([part for part in found if part is not None])
