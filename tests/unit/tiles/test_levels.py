"""Layers as groups whose channels are ranks of blocks."""

from __future__ import annotations

import numpy as np
import pytest

from onnxprune.allocate import ALLOCATORS, Problem
from onnxprune.tiles import BalancedTiles
from onnxprune.tiles.levels import Level, block_ranks, entry_ranks, level_costs, level_groups, level_worth

SUMS = np.array([[3.0, 0.0], [1.0, 2.0], [2.0, 2.0]])
LEVELS = (
    Level("a", 3, {"flops": 60.0, "params": 6.0}, {"flops": 20.0, "params": 2.0}),
    Level("b", 10, {"flops": 20.0, "params": 10.0}, {"flops": 2.0, "params": 1.0}),
)


def test_every_tile_ranks_its_own_blocks():
    assert block_ranks(SUMS).tolist() == [[0, 2], [2, 0], [1, 1]]


def test_a_rank_is_worth_what_it_holds_in_all_tiles():
    assert level_worth(SUMS).tolist() == [5.0, 4.0, 1.0]
    ranks = block_ranks(SUMS)
    assert [SUMS[ranks == rank].sum() for rank in range(3)] == [5.0, 4.0, 1.0]


def test_ranks_of_entries_are_those_of_their_blocks_in_the_order_found():
    rng = np.random.default_rng(0)
    saliency, rows, columns = rng.random((6, 8)), rng.permutation(6), rng.permutation(8)
    pattern = BalancedTiles(2, 4, 1.0)
    found = entry_ranks(pattern, saliency, rows, columns)
    ordered = saliency[rows][:, columns].reshape(3, 2, 2, 4).sum(axis=(1, 3))
    expected = block_ranks(ordered).repeat(2, axis=0).repeat(4, axis=1)
    np.testing.assert_array_equal(found[rows][:, columns], expected)
    np.testing.assert_array_equal(entry_ranks(pattern, saliency[rows][:, columns]), expected)


def test_costs_fall_with_blocks_and_what_is_not_tiled_stays():
    costs = level_costs(LEVELS, {"flops": 100.0, "params": 16.0})
    assert costs["flops"]({"a": 3, "b": 10}) == pytest.approx(100)
    assert costs["flops"]({"a": 1, "b": 5}) == pytest.approx(20 + 20 + 10)
    assert costs["params"]({"a": 1, "b": 1}) == pytest.approx(3)


def test_what_pads_a_tile_is_paid_for():
    padded = Level("a", 2, {"params": 47.0}, {"params": 24.0})
    assert level_costs((padded,), {"params": 50.0})["params"]({"a": 1}) == pytest.approx(27.0)


@pytest.mark.parametrize("name", [n for n in ALLOCATORS.names() if n not in ("dsa", "netadapt")])
def test_allocators_share_a_budget_out_over_tiles(name):
    rng = np.random.default_rng(0)
    levels = tuple(Level(f"l{i}", 64, {"flops": 640.0 * (i + 1)}, {"flops": 10.0 * (i + 1)}) for i in range(4))
    worth = {level.name: level_worth(rng.random((64, 4)) ** (i + 1)) for i, level in enumerate(levels)}
    costs = level_costs(levels, {"flops": 7680.0})
    problem = Problem(level_groups(levels), worth, costs, {"flops": 3840.0}, 1)
    found = ALLOCATORS.get(name)().solve(problem)
    assert 0.98 * 3840 <= costs["flops"](found.kept) <= 3840
