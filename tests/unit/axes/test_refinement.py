"""Properties of refined axes: positions, sizes and reasons survive whatever is split, factored and equated."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxprune.axes import Atom, Axis, Poly, Prod, Sum, factor, keep_mask, leaves, pin, size_polynomial, split, unify
from onnxprune.groups.analysis import channel_labels

SIZES = (6, 8, 12, 16, 24, 30)


@st.composite
def axes_of_size(draw: Callable[..., object], size: int) -> Axis:
    """A random expression of a given size."""
    if size < 4 or draw(st.booleans()):
        return Atom(size)
    divisors = [d for d in range(2, size) if size % d == 0]
    if divisors and draw(st.booleans()):
        inner = draw(st.sampled_from(divisors))
        return Prod([draw(axes_of_size(size // inner)), draw(axes_of_size(inner))])
    cut = draw(st.integers(1, size - 1))
    return Sum([draw(axes_of_size(cut)), draw(axes_of_size(size - cut))])


def random_masks(data: st.DataObject, *axes: Axis) -> dict[Atom, np.ndarray]:
    """A random keep mask for every atom that nothing pins and that is no whole branch."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    atoms = dict.fromkeys(atom for axis in axes for atom in leaves(axis))
    return {atom: rng.random(atom.size) < 0.6 for atom in atoms if atom.size > 1 and not atom.pinned}


@settings(max_examples=200)
@given(st.data())
def test_factors_keep_the_positions_of_the_whole(data):
    size = data.draw(st.sampled_from(SIZES))
    axis = data.draw(axes_of_size(size))
    inner = data.draw(st.sampled_from([d for d in range(1, size + 1) if size % d == 0]))
    pair = factor(axis, inner)
    if pair is None:
        return
    masks = random_masks(data, axis)
    assert (pair[0].size, pair[1].size) == (size // inner, inner)
    product = np.kron(keep_mask(pair[0], masks), keep_mask(pair[1], masks)).astype(bool)
    assert np.array_equal(keep_mask(axis, masks), product)


@settings(max_examples=200)
@given(st.data())
def test_size_polynomial_counts_what_is_kept(data):
    size = data.draw(st.sampled_from(SIZES))
    a, b = data.draw(axes_of_size(size)), data.draw(axes_of_size(size))
    unify(a, b)
    masks = random_masks(data, a)
    names = {atom: f"a{i}" for i, atom in enumerate(masks)}
    poly = size_polynomial(a, lambda atom: Poly.variable(names[atom]) if atom in names else Poly.constant(atom.size))
    assert poly({names[atom]: int(mask.sum()) for atom, mask in masks.items()}) == keep_mask(a, masks).sum()


@settings(max_examples=200)
@given(st.data())
def test_labels_name_the_positions_that_go_with_a_channel(data):
    size = data.draw(st.sampled_from(SIZES))
    axis = data.draw(axes_of_size(size))
    unify(axis, data.draw(axes_of_size(size)))
    for atom in dict.fromkeys(leaves(axis)):
        labels = channel_labels(axis, atom)
        channel = data.draw(st.integers(0, atom.size - 1))
        alone = np.arange(atom.size) != channel
        assert np.array_equal(labels == channel, ~keep_mask(axis, {atom: alone}))


@settings(max_examples=200)
@given(st.data())
def test_pins_survive_refinement(data):
    size = data.draw(st.sampled_from(SIZES))
    axis = data.draw(axes_of_size(size))
    pin(axis, "stays")
    other = data.draw(axes_of_size(size))
    unify(axis, other)
    cut = data.draw(st.integers(1, size - 1))
    split(other, [cut, size - cut])
    factor(axis, data.draw(st.sampled_from([d for d in range(1, size + 1) if size % d == 0])))
    wide = [leaf for leaf in leaves(axis) + leaves(other) if leaf.size > 1]
    assert all(leaf.pinned for leaf in wide)
