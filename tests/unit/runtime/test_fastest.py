"""Which of several models is kept: the fastest, and of those as fast the smallest."""

from __future__ import annotations

import pytest

from onnxprune.runtime import Ratio, fastest


def ratio(median, spread=0.01):
    return Ratio(median, median - spread, median + spread, 2 * spread)


@pytest.mark.parametrize(
    ("ratios", "sizes", "kept"),
    [
        ({}, {"dense": 100}, "dense"),
        ({"a": ratio(0.5), "b": ratio(0.7)}, {"dense": 100, "a": 60, "b": 20}, "a"),
        ({"a": ratio(0.5), "b": ratio(0.515)}, {"dense": 100, "a": 60, "b": 20}, "b"),
        ({"a": ratio(0.5, 0.1), "b": ratio(0.65, 0.1)}, {"dense": 100, "a": 60, "b": 20}, "b"),
        ({"a": ratio(1.005)}, {"dense": 100, "a": 60}, "a"),
        ({"a": ratio(1.005)}, {"dense": 100, "a": 101}, "dense"),
        ({"a": ratio(1.005)}, {"dense": 100, "a": 105}, "dense"),
        ({"a": ratio(1.05)}, {"dense": 100, "a": 20}, "dense"),
        ({"a": ratio(1.03, 0.1)}, {"dense": 100, "a": 20}, "dense"),
        ({"a": ratio(0.5), "b": ratio(0.505)}, {"dense": 100, "a": 60, "b": 59}, "a"),
    ],
    ids=[
        "nothing else",
        "faster",
        "as fast and smaller",
        "as fast in the noise",
        "as fast as the reference and smaller",
        "of one size",
        "larger",
        "slower",
        "slower though noisy",
        "sizes that hardly differ",
    ],
)
def test_the_fastest_is_kept_and_of_those_as_fast_the_smallest(ratios, sizes, kept):
    assert fastest(ratios, sizes, "dense") == kept
