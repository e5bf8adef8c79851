"""Patterns: which entries they keep, in whole and in ragged matrices."""

from __future__ import annotations

import numpy as np
import pytest

from onnxprune.core.errors import UsageError
from onnxprune.tiles import BalancedTiles, NOfM, TetrisBlocks, block_sums, make_mask, retained

PATTERNS = [BalancedTiles(4, 3, 0.5), TetrisBlocks(4, 3, 0.5), NOfM(2, 4), NOfM(1, 3), NOfM(4, 4)]
SHAPES = [(12, 9), (13, 10), (3, 2), (1, 1), (8, 1), (1, 7)]


def _saliency(shape, seed=0):
    return np.random.default_rng(seed).random(shape)


def test_balanced_tiles_keep_the_best_blocks_of_each_tile():
    saliency = np.array([[5, 5, 0, 0], [5, 5, 0, 0], [1, 1, 3, 0], [1, 1, 0, 0], [2, 2, 2, 2], [2, 2, 2, 2]], float)
    mask = make_mask(BalancedTiles(2, 2, 1 / 3), saliency)
    assert mask.astype(int).tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0] * 4, [0] * 4, [0, 0, 1, 1], [0, 0, 1, 1]]


def test_tetris_prunes_the_weakest_blocks_wherever_they_are():
    saliency = np.array([[9.0, 9, 8, 8], [9, 9, 8, 8], [1, 1, 2, 2], [1, 1, 2, 2]])
    mask = make_mask(TetrisBlocks(2, 2, 0.5), saliency)
    assert mask.all(axis=1).tolist() == [True, True, False, False]


def test_tetris_rounds_the_pruned_blocks_down():
    saliency = _saliency((6, 6))
    assert make_mask(TetrisBlocks(2, 2, 0.5), saliency).sum() == 4 * (9 - 4)


def test_n_of_m_keeps_the_largest_of_each_group_per_output():
    saliency = np.array([[1, 4], [2, 3], [3, 2], [4, 1], [7, 0], [0, 0]], float)
    mask = make_mask(NOfM(2, 4), saliency)
    assert mask.astype(int).tolist() == [[0, 1], [0, 1], [1, 0], [1, 0], [1, 1], [1, 1]]


def test_density_is_kept_at_most_and_never_nothing():
    assert [BalancedTiles(4, 8, d).kept(40) for d in (0.3, 0.35, 0.01, 1.0)] == [3, 3, 1, 10]


def test_fitted_tiles_leave_a_choice_to_small_layers():
    pattern = BalancedTiles(16, 64, 0.5)
    assert pattern.fitted(512, 512) == pattern
    assert pattern.fitted(16, 40) == BalancedTiles(8, 32, 0.5)
    assert pattern.fitted(1, 1) == BalancedTiles(1, 1, 0.5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_mask_holds_the_retained_mass_in_any_order(pattern, shape):
    saliency = _saliency(shape)
    rng = np.random.default_rng(1)
    rows, columns = rng.permutation(shape[0]), rng.permutation(shape[1])
    mask = make_mask(pattern, saliency, rows, columns)
    assert mask.shape == shape
    assert saliency[mask].sum() == pytest.approx(retained(pattern, saliency, rows, columns), rel=1e-12)
    reordered = saliency[np.ix_(rows, columns)]
    assert make_mask(pattern, reordered).tolist() == mask[np.ix_(rows, columns)].tolist()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_bound_is_not_exceeded(pattern, shape):
    saliency = _saliency(shape)
    assert retained(pattern, saliency) <= pattern.bound(saliency) * (1 + 1e-12)


@pytest.mark.parametrize("pattern", PATTERNS[:2], ids=str)
def test_ragged_sums_are_those_of_a_padded_matrix(pattern):
    saliency = _saliency((13, 10))
    padded = np.pad(saliency, ((0, 3), (0, 2)))
    np.testing.assert_allclose(block_sums(pattern, saliency), block_sums(pattern, padded), rtol=1e-12)


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_zeros_are_kept_in_the_pattern_too(pattern):
    dense = _saliency((12, 9))
    assert make_mask(pattern, np.zeros((12, 9))).sum() == make_mask(pattern, dense).sum()


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_blurred_choice_has_the_same_size_and_sharpens(pattern):
    sums = block_sums(pattern, _saliency((24, 18)))
    sharp, blurred, cold = (pattern.choose(sums, heat) for heat in (0.0, 0.1 * sums.std(), 1e-9))
    assert blurred.sum() == pytest.approx(sharp.sum(), rel=0.05)  # shares near none and all are rounded
    assert ((blurred >= 0) & (blurred <= 1)).all()
    np.testing.assert_allclose(cold, sharp)


@pytest.mark.parametrize(
    "make",
    [
        lambda: BalancedTiles(0, 1, 0.5),
        lambda: BalancedTiles(1, 1, 0.0),
        lambda: BalancedTiles(1, 1, 1.1),
        lambda: TetrisBlocks(1, 0, 0.5),
        lambda: TetrisBlocks(1, 1, 1.0),
        lambda: NOfM(3, 2),
        lambda: NOfM(0, 4),
    ],
)
def test_values_outside_their_domain_are_refused(make):
    with pytest.raises(UsageError):
        make()
