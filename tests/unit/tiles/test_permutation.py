"""The search on one layer: never worse, near the best on tiny cases, deterministic."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, pairwise, permutations

import numpy as np
import pytest

from onnxprune.core.errors import UsageError
from onnxprune.tiles import BalancedTiles, NOfM, SearchOptions, TetrisBlocks, make_mask, retained, search_layer

QUICK = SearchOptions(kicks=3, warm_rounds=6, kick_rounds=3)
PATTERNS = [BalancedTiles(4, 3, 0.4), TetrisBlocks(4, 3, 0.6), NOfM(2, 4), BalancedTiles(1, 4, 0.3)]


def _matrix(shape, seed):
    rng = np.random.default_rng(seed)
    scales = np.exp(0.6 * rng.standard_normal((shape[0], 1))), np.exp(0.6 * rng.standard_normal((1, shape[1])))
    return np.abs(rng.standard_normal(shape)) * scales[0] * scales[1]


def _check(found, saliency, pattern):
    """What must hold for every result."""
    member, pruned = found.members["layer"], found.pruned
    assert sorted(found.orders["rows"].tolist()) == list(range(saliency.shape[0]))
    assert sorted(found.orders["columns"].tolist()) == list(range(saliency.shape[1]))
    mass, slack = saliency.sum(), 1e-9 * saliency.sum()
    assert pruned.total == pytest.approx(mass)
    assert pruned.bound - slack <= pruned.found <= min(pruned.none, pruned.sorted) + slack
    assert pruned.none == pytest.approx(mass - retained(pattern, saliency), abs=slack)
    assert mass - saliency[member.mask].sum() == pytest.approx(pruned.found, abs=slack)
    assert (member.mask == make_mask(pattern, saliency, found.orders["rows"], found.orders["columns"])).all()


@pytest.mark.parametrize("shape", [(24, 18), (25, 17), (3, 2), (1, 1), (24, 1), (1, 18), (40, 3)])
@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_found_is_no_worse_than_no_order_and_sorting(pattern, shape):
    saliency = _matrix(shape, 0)
    _check(search_layer(saliency, pattern, QUICK), saliency, pattern)


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_zero_rows_and_columns_are_harmless(pattern):
    saliency = _matrix((24, 18), 1)
    saliency[::3] = 0
    saliency[:, ::4] = 0
    _check(search_layer(saliency, pattern, QUICK), saliency, pattern)
    empty = search_layer(np.zeros((24, 18)), pattern, QUICK)
    assert empty.pruned.found == 0
    assert empty.pruned.efficacy == 1


@pytest.mark.parametrize(
    "pattern", [BalancedTiles(4, 3, 1.0), TetrisBlocks(4, 3, 0.0), NOfM(4, 4), BalancedTiles(24, 18, 0.5)], ids=str
)
def test_nothing_moves_where_nothing_can_be_gained(pattern):
    found = search_layer(_matrix((24, 18), 2), pattern, QUICK)
    assert found.pruned.found == pytest.approx(0, abs=1e-9)
    assert found.orders["rows"].tolist() == list(range(24))
    assert found.orders["columns"].tolist() == list(range(18))


def test_hidden_blocks_are_found_again():
    rng = np.random.default_rng(3)
    blocks = np.kron(np.eye(4), np.ones((8, 8))) + 0.01 * rng.random((32, 32))
    shuffled = blocks[rng.permutation(32)][:, rng.permutation(32)]
    found = search_layer(shuffled, BalancedTiles(8, 8, 0.25))
    assert found.pruned.found / found.pruned.total < 0.02
    assert found.pruned.none / found.pruned.total > 0.5


def test_sorted_masses_are_those_of_sorted_channels():
    saliency, pattern = _matrix((24, 18), 4), BalancedTiles(4, 3, 0.4)
    rows, columns = np.argsort(-saliency.sum(1)), np.argsort(-saliency.sum(0))
    expected = saliency.sum() - retained(pattern, saliency, rows, columns)
    assert search_layer(saliency, pattern, QUICK).pruned.sorted == pytest.approx(expected)


def _parts(n, size):
    """Every order of n that differs in which channels share a cell, cells ordered by their first channel."""

    def rest(left):
        if not left:
            yield ()
            return
        for chosen in combinations(left[1:], min(size, len(left)) - 1):
            head = (left[0], *chosen)
            for tail in rest(tuple(c for c in left if c not in head)):
                yield (*head, *tail)

    return [np.array(order) for order in rest(tuple(range(n)))]


def _gap(pattern, seed):
    """Share of the best order's kept mass that the search did not find, with every order tried."""
    saliency, orders = _matrix((6, 6), seed), _parts(6, 2)
    best = max(retained(pattern, saliency, rows, columns) for rows in orders for columns in orders)
    pruned = search_layer(saliency, pattern).pruned
    return (best - (pruned.total - pruned.found)) / best


@pytest.mark.parametrize("seed", range(4))
def test_tiny_tiles_come_to_the_very_best(seed):
    assert -1e-12 <= _gap(BalancedTiles(2, 2, 0.4), seed) <= 1e-9


def test_tiny_tetris_blocks_come_near_the_very_best():
    gaps = np.array([_gap(TetrisBlocks(2, 2, 0.5), seed) for seed in range(4)])
    assert gaps.min() >= -1e-12
    assert np.median(gaps) <= 1e-9, gaps
    assert gaps.max() <= 0.03, gaps


@pytest.mark.parametrize("seed", range(4))
def test_tiny_n_of_m_layers_come_to_the_very_best(seed):
    saliency, pattern = _matrix((8, 5), seed), NOfM(2, 4)
    best = max(retained(pattern, saliency, order) for order in _parts(8, 4))
    found = search_layer(saliency, pattern)
    assert found.pruned.total - found.pruned.found == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("seed", range(6, 10))
def test_ragged_cells_come_to_the_very_best_with_kicks_enough(seed):
    saliency, pattern = _matrix((5, 3), seed), BalancedTiles(2, 2, 0.7)
    orders = [np.array(order) for order in permutations(range(5))], [np.array(o) for o in permutations(range(3))]
    best = max(retained(pattern, saliency, r, c) for r in orders[0] for c in orders[1])
    found = search_layer(saliency, pattern, SearchOptions(kicks=40))
    assert found.pruned.total - found.pruned.found == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_same_seed_gives_the_same_orders(pattern):
    saliency = _matrix((24, 18), 5)
    one, other = (search_layer(saliency, pattern, QUICK, np.random.default_rng(9)) for _ in range(2))
    assert all((one.orders[name] == other.orders[name]).all() for name in one.orders)
    assert one.pruned == other.pruned


def test_more_channels_than_can_be_placed_at_once_still_improve():
    saliency, pattern = _matrix((48, 40), 6), BalancedTiles(2, 2, 0.4)
    few = replace(QUICK, exact=12)
    found = search_layer(saliency, pattern, few)
    _check(found, saliency, pattern)
    assert found.pruned.found < 0.97 * found.pruned.sorted


def test_points_tell_how_it_goes():
    points = []
    found = search_layer(_matrix((24, 18), 8), PATTERNS[0], QUICK, on_point=points.append)
    assert [point.round for point in points] == list(range(1, found.rounds + 1))
    assert [point.best for point in points] == sorted((point.best for point in points), reverse=True)
    assert points[-1].best == pytest.approx(found.pruned.found)
    assert {point.step for point in points} == {"none", "sorted", "soft", "noise", "kick 1", "kick 2", "kick 3"}
    assert all(point.pruned is None or point.pruned >= point.best - 1e-9 for point in points)


def test_rounds_without_heat_never_prune_more():
    points = []
    search_layer(_matrix((40, 30), 10), PATTERNS[0], replace(QUICK, starts=("none",), kicks=0), on_point=points.append)
    assert len(points) > 1
    masses = [point.pruned for point in points]
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(masses))


def test_time_limit_ends_the_search():
    found = search_layer(_matrix((24, 18), 11), PATTERNS[0], replace(QUICK, seconds=1e-9))
    assert found.rounds == 0
    assert found.pruned.found == pytest.approx(min(found.pruned.none, found.pruned.sorted))


@pytest.mark.parametrize(
    "wrong",
    [{"starts": ("backwards",)}, {"kicks": -1}, {"rounds": 0}, {"cooling": 1.0}, {"noise": -0.1}, {"seconds": 0}],
)
def test_options_outside_their_domain_are_refused(wrong):
    with pytest.raises(UsageError):
        SearchOptions(**wrong)
