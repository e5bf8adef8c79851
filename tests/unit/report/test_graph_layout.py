"""Layers and places of a drawing."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from onnxprune.report.graph_layers import Layers, Wiring
from onnxprune.report.graph_layout import lay_out, spread

SKIP = [Wiring(0, (1, 3)), Wiring(1, (2,)), Wiring(2, (3,))]


def test_box_lies_below_all_that_it_reads():
    assert Layers(4, SKIP, 1).rank[:4] == [0, 1, 2, 3]


def test_what_hangs_on_no_input_lies_just_above_its_reader():
    wires = [Wiring(0, (2,)), Wiring(1, (4,)), Wiring(2, (3,)), Wiring(3, (5,)), Wiring(4, (5,))]
    assert Layers(6, wires, 1).rank == [0, 1, 1, 2, 2, 3]


def test_wire_over_layers_bends_in_each():
    layers = Layers(4, SKIP, 1)
    path = layers.path(0, SKIP[0], 3)
    assert [layers.rank[vertex] for vertex in path] == [0, 1, 2, 3]
    assert all(vertex >= layers.count for vertex in path[1:-1])


def test_wire_with_several_ends_shares_its_bends():
    wires = [Wiring(0, (1, 3, 4)), Wiring(1, (2,)), Wiring(2, (3,)), Wiring(3, (4,))]
    layers = Layers(5, wires, 1)
    assert layers.path(0, wires[0], 4)[:-2] == layers.path(0, wires[0], 3)[:-1]


def test_crossing_that_can_go_goes():
    wires = [Wiring(0, (3,)), Wiring(1, (2,)), Wiring(2, (4,)), Wiring(3, (5,))]
    layers = Layers(6, wires, 2)
    assert layers.crossings() == 0


def test_crossing_that_must_be_is_counted():
    complete = [Wiring(0, (2, 3)), Wiring(1, (2, 3))]
    assert Layers(4, complete, 2).crossings() == 1


@pytest.mark.parametrize("seed", range(5))
def test_boxes_and_bends_of_random_graphs_never_overlap(seed):
    rng = np.random.default_rng(seed)
    count = 60
    sizes = [(float(width), 38.0) for width in rng.uniform(60, 240, count)]
    wires = [
        Wiring(i, tuple(sorted({int(t) for t in rng.integers(i + 1, min(count, i + 12), 2)}))) for i in range(count - 1)
    ]
    layout = lay_out(sizes, wires, 3)
    spots = [(x - w / 2, x + w / 2, y) for (x, y), (w, _) in zip(layout.centres, sizes, strict=True)]
    for row in {y for _, _, y in spots}:
        inside = sorted(spot for spot in spots if spot[2] == row)
        assert all(right[0] >= left[1] for left, right in pairwise(inside))
    for routes in layout.routes:
        for route in routes:
            for x, y in route[1:-1]:  # wires run beside boxes, never through them
                assert not any(left < x < right and abs(y - row) < 19 + 1e-6 for left, right, row in spots)
    assert min(left for left, _, _ in spots) >= -1e-9
    assert max(right for _, right, _ in spots) <= layout.width + 1e-9


def test_spread_keeps_what_is_far_enough_apart():
    assert spread([0, 10, 30], [1, 1, 1], [5, 5]) == [0, 10, 30]


def test_spread_gives_way_by_weight():
    assert spread([0, 0], [3, 1], [8]) == [-2, 6]


def test_spread_is_the_least_squares_solution():
    rng = np.random.default_rng(0)
    wanted, weights, apart = rng.normal(size=6) * 9, rng.uniform(0.5, 2, 6), rng.uniform(1, 3, 5)
    found = np.array(spread(list(wanted), list(weights), list(apart)))
    assert np.all(np.diff(found) >= apart - 1e-9)
    cost = np.sum(weights * (found - wanted) ** 2)
    for _ in range(500):
        other = found + rng.normal(size=6) * 0.1
        if np.all(np.diff(other) >= apart):
            assert np.sum(weights * (other - wanted) ** 2) >= cost - 1e-9
