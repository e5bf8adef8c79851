"""Unification and refinement of axis expressions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxprune.axes import Atom, Axis, Prod, Sum, factor, keep_mask, leaves, resolve, split, split_at, unify


def sizes(axis: Axis) -> list[int]:
    return [atom.size for atom in leaves(axis)]


def test_unify_binds_atoms_to_one_another():
    a, b = Atom(8), Atom(8, "output")
    unify(a, b)
    assert resolve(a) is resolve(b)
    assert leaves(a)[0].pinned


def test_unify_carries_reasons_of_the_bound_atom_to_every_leaf():
    a = Atom(12, "input 'x'")
    b = Sum([Atom(4), Atom(8)])
    unify(a, b)
    assert [list(leaf.reasons) for leaf in leaves(b)] == [["input 'x'"]] * 2


def test_unify_pins_both_sides_when_sizes_differ():
    a, b = Atom(8), Atom(9)
    unify(a, b, "Add 'n'")
    assert a.pinned
    assert b.pinned
    assert "Add 'n' joins axes of different sizes (8 and 9)" in a.reasons


def test_unify_refines_two_concatenations_to_common_cuts():
    a, b = Sum([Atom(4), Atom(8)]), Sum([Atom(6), Atom(6)])
    unify(a, b)
    assert sizes(a) == sizes(b) == [4, 2, 6]
    assert [x is y for x, y in zip(leaves(a), leaves(b), strict=True)] == [True] * 3


def test_unify_refines_two_flattened_axes_to_common_factors():
    a, b = Prod([Atom(4), Atom(6)]), Prod([Atom(8), Atom(3)])
    unify(a, b)
    assert sizes(a) == sizes(b) == [4, 2, 3]


def test_unify_pins_flattened_axes_without_common_factors():
    a, b = Prod([Atom(4), Atom(9)]), Prod([Atom(9), Atom(4)])
    unify(a, b, "Reshape 'r'")
    assert all(leaf.pinned for leaf in leaves(a) + leaves(b))


def test_unify_of_concatenation_with_flattened_axis_splits_the_outer_factor():
    heads = Prod([Atom(6), Atom(4)])
    parts = Sum([Atom(8), Atom(16)])
    unify(parts, heads)
    inner = {id(leaves(part)[-1]) for part in resolve(parts).parts}
    assert sizes(parts) == [2, 4, 4, 4]
    assert len(inner) == 1


def test_unify_of_an_axis_with_its_own_part_pins_it():
    a = Atom(4)
    unify(a, Prod([a, Atom(1)]))
    assert a.pinned or resolve(a) is a


def test_split_at_inside_an_inner_factor_isolates_the_row():
    axis = Prod([Atom(3), Atom(4)])
    head, tail = split_at(axis, 6)
    assert (head.size, tail.size) == (6, 6)
    assert keep_mask(axis, {}).size == 12


def test_split_gives_none_for_empty_parts():
    parts = split(Atom(6), [2, 0, 4])
    assert [None if part is None else part.size for part in parts] == [2, None, 4]


def test_factor_of_a_concatenation_shares_the_inner_axis():
    axis = Sum([Atom(4), Atom(6)])
    pair = factor(axis, 2)
    assert pair is not None
    assert (pair[0].size, pair[1].size) == (5, 2)
    assert leaves(axis)[1] is leaves(axis)[3]


@pytest.mark.parametrize("inner", [4, 5, 7])
def test_factor_refuses_what_does_not_divide(inner):
    assert factor(Sum([Atom(2), Atom(4)]), inner) is None


def test_resolve_of_a_long_chain_does_not_recurse():
    first = atom = Atom(3)
    for _ in range(50_000):
        following = Atom(3)
        atom.bound = following
        atom = following
    assert resolve(first) is atom
    assert resolve(first) is atom


@st.composite
def axes_of_size(draw, size: int) -> Axis:
    """A random expression of a given size."""
    if size < 4 or draw(st.booleans()):
        return Atom(size)
    divisors = [d for d in range(2, size) if size % d == 0]
    if divisors and draw(st.booleans()):
        inner = draw(st.sampled_from(divisors))
        return Prod([draw(axes_of_size(size // inner)), draw(axes_of_size(inner))])
    cut = draw(st.integers(1, size - 1))
    return Sum([draw(axes_of_size(cut)), draw(axes_of_size(size - cut))])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_unified_axes_keep_the_same_positions_for_every_mask(data):
    size = data.draw(st.sampled_from([6, 8, 12, 16, 24, 30]))
    a, b = data.draw(axes_of_size(size)), data.draw(axes_of_size(size))
    unify(a, b)
    # an atom of one channel is a whole branch and is never pruned
    free = [atom for atom in dict.fromkeys(leaves(a) + leaves(b)) if not atom.pinned and atom.size > 1]
    rng = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    masks = {atom: rng.random(atom.size) < 0.6 for atom in free}
    assert np.array_equal(keep_mask(a, masks), keep_mask(b, masks))
    assert resolve(a).size == resolve(b).size == size


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_split_parts_keep_the_positions_of_the_whole(data):
    size = data.draw(st.sampled_from([6, 12, 16, 24]))
    axis = data.draw(axes_of_size(size))
    cut = data.draw(st.integers(1, size - 1))
    head, tail = split_at(axis, cut)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    masks = {atom: rng.random(atom.size) < 0.6 for atom in dict.fromkeys(leaves(axis)) if atom.size > 1}
    joined = np.concatenate([keep_mask(head, masks), keep_mask(tail, masks)])
    assert np.array_equal(keep_mask(axis, masks), joined)
