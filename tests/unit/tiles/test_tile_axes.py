"""Composed axes against an explicit expansion."""

from __future__ import annotations

import numpy as np
import pytest

from onnxprune.core.errors import InternalError
from onnxprune.tiles import BalancedTiles, Member, NOfM, Segment, axis_length, axis_order
from onnxprune.tiles.member import variable_sizes
from onnxprune.tiles.variable import find_variable


def _named(segments, orders):
    """The entries of an axis by name, channels in the given orders."""
    names = []
    for number, segment in enumerate(segments):
        order = range(segment.size) if segment.variable is None else orders[segment.variable]
        for outer in range(segment.outer):
            names += [(number, outer, int(channel), inner) for channel in order for inner in range(segment.inner)]
    return names


AXES = [
    (Segment("a", 5),),
    (Segment("a", 5, inner=3),),
    (Segment("a", 5, outer=2),),
    (Segment("a", 5, outer=2, inner=3),),
    (Segment("a", 5), Segment(None, 2), Segment("b", 3, inner=2), Segment("a", 5, outer=2)),
]


@pytest.mark.parametrize("segments", AXES)
def test_order_of_an_axis_is_that_of_its_channels(segments):
    rng = np.random.default_rng(0)
    orders = {"a": rng.permutation(5), "b": rng.permutation(3)}
    plain = _named(segments, {"a": range(5), "b": range(3)})
    order = axis_order(segments, orders)
    assert len(order) == axis_length(segments) == len(plain)
    assert [plain[entry] for entry in order] == _named(segments, orders)


@pytest.mark.parametrize("segments", AXES)
def test_places_of_a_channel_are_its_entries(segments):
    names, start = _named(segments, {"a": range(5), "b": range(3)}), 0
    for number, segment in enumerate(segments):
        for channel, places in enumerate(segment.places() + start):
            assert {names[place][0] for place in places} == {number}
            assert {names[place][2] for place in places} == {channel}
            assert len(set(places.tolist())) == segment.outer * segment.inner
        start += segment.length


def _member(rows, columns, pattern, name="m"):
    saliency = np.ones((axis_length(rows), axis_length(columns)))
    return Member(name, saliency, rows, columns, pattern)


def test_positions_in_one_block_are_of_one_kind():
    member = _member((Segment("a", 12),), (Segment("b", 6),), BalancedTiles(4, 3, 0.5))
    assert find_variable("a", 12, [member]).kinds.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert find_variable("b", 6, [member]).kinds.tolist() == [0] * 3 + [1] * 3


def test_kinds_tell_apart_what_any_use_does():
    one = _member((Segment("a", 12),), (Segment(None, 6),), BalancedTiles(4, 3, 0.5))
    other = _member((Segment(None, 2),), (Segment("a", 12),), BalancedTiles(1, 6, 0.5), "other")
    assert len(find_variable("a", 12, [one, other]).firsts) == 4


def test_whole_units_are_free():
    members = [
        _member((Segment("a", 8, inner=4),), (Segment("b", 6),), BalancedTiles(4, 3, 0.5), "flatten"),
        _member((Segment("c", 8),), (Segment("a", 8),), NOfM(2, 4), "outputs of N:M"),
        _member((Segment("a", 8),), (Segment(None, 2),), BalancedTiles(1, 2, 0.5), "single inputs"),
        _member((Segment("a", 8),), (Segment(None, 2),), NOfM(4, 4), "dense"),
    ]
    assert find_variable("a", 8, members).free
    assert not find_variable("c", 8, members).free


def test_inner_that_fills_no_units_is_not_free():
    member = _member((Segment("a", 8, inner=3),), (Segment(None, 6),), BalancedTiles(4, 3, 0.5))
    assert not find_variable("a", 8, [member]).free


def test_variable_on_both_axes_is_coupled():
    both = _member((Segment("a", 8),), (Segment("a", 8),), BalancedTiles(4, 4, 0.5))
    once = _member((Segment("a", 8),), (Segment("b", 8),), BalancedTiles(4, 4, 0.5), "once")
    rows_only = _member((Segment("a", 8),), (Segment("a", 8),), NOfM(2, 4), "free outputs")
    assert find_variable("a", 8, [both, once]).coupled
    assert not find_variable("b", 8, [both, once]).coupled
    assert not find_variable("a", 8, [rows_only]).coupled


def test_contradictions_are_refused():
    pattern = BalancedTiles(2, 2, 0.5)
    with pytest.raises(InternalError, match="axes of"):
        Member("m", np.ones((3, 4)), (Segment("a", 4),), (Segment(None, 4),), pattern)
    with pytest.raises(InternalError, match="not negative"):
        Member("m", -np.ones((4, 4)), (Segment("a", 4),), (Segment(None, 4),), pattern)
    with pytest.raises(InternalError, match="weight"):
        Member("m", np.ones((4, 4)), (Segment("a", 4),), (Segment(None, 4),), pattern, weight=-1)
    with pytest.raises(InternalError, match="no room"):
        Segment("a", 0)
    with pytest.raises(InternalError, match="channels, others"):
        variable_sizes([_member((Segment("a", 4),), (Segment("a", 5),), pattern)])
    with pytest.raises(InternalError, match="two members"):
        variable_sizes([_member((Segment("a", 4),), (Segment("b", 5),), pattern)] * 2)
