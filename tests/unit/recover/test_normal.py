"""The algebra of refitting: sums over rows, and the best change of a weight."""

from __future__ import annotations

import math

import numpy as np
import pytest

from onnxprune.recover.normal import Change, RowSums, solve

RTOL = 1e-9  # float64 sums of a few hundred rows


def _rows(group=2, rows=300, columns=5, outputs=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((group, rows, columns)) @ rng.standard_normal((group, columns, columns)) + 2
    return x, rng.standard_normal((group, rows, outputs)) + x[:, :, :1]


def _sums(x, r, parts=(100, 200)):
    sums = RowSums(x.shape[0], x.shape[2], r.shape[2])
    for a, b in zip(np.split(x, parts, axis=1), np.split(r, parts, axis=1), strict=True):
        sums.add(a, b)
    return sums


@pytest.mark.parametrize("intercept", [True, False])
def test_small_ridge_gives_least_squares(intercept):
    x, r = _rows()
    change = solve(_sums(x, r), 1e-12, intercept=intercept)
    for g in range(2):
        seen = np.hstack([x[g], np.ones((len(x[g]), 1))]) if intercept else x[g]
        expected = np.linalg.lstsq(seen, r[g], rcond=None)[0]
        np.testing.assert_allclose(change.weight[g], expected[:5], rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(change.bias[g], expected[5] if intercept else 0, rtol=1e-6, atol=1e-8)


def test_error_of_a_change_is_that_of_its_rows():
    x, r = _rows()
    rng = np.random.default_rng(1)
    change = Change(rng.standard_normal((2, 5, 3)), rng.standard_normal((2, 3)))
    left = r - x @ change.weight - change.bias[:, None]
    sums = _sums(x, r)
    assert sums.error(change) == pytest.approx(np.square(left).sum() / 300, rel=RTOL)
    assert sums.error() == pytest.approx(np.square(r).sum() / 300, rel=RTOL)


def test_infinite_ridge_corrects_the_bias_alone():
    x, r = _rows()
    change = solve(_sums(x, r), math.inf, intercept=True)
    assert not change.weight.any()
    np.testing.assert_allclose(change.bias, r.mean(axis=1), rtol=RTOL)


def test_larger_ridge_gives_a_smaller_change():
    sums = _sums(*_rows())
    norms = [np.linalg.norm(solve(sums, ridge, intercept=True).weight) for ridge in (1e-6, 1e-2, 1, 100)]
    assert norms == sorted(norms, reverse=True)
    assert norms[-1] < 0.1 * norms[0]


def test_inputs_that_never_move_change_nothing():
    x, r = _rows()
    x[0] = 0
    change = solve(_sums(x, r), 1e-3, intercept=True)
    assert not change.weight[0].any()
    assert np.isfinite(change.weight).all()


def test_more_columns_than_rows_are_solved():
    x, r = _rows(rows=4, columns=20)
    change = solve(_sums(x, r, parts=()), 1e-3, intercept=True)
    assert np.isfinite(change.weight).all()
    assert _sums(x, r, parts=()).error(change) < 0.1 * _sums(x, r, parts=()).error()


@pytest.mark.parametrize("intercept", [True, False])
def test_what_may_not_change_does_not_and_the_rest_is_fitted_without_it(intercept):
    x, r = _rows()
    rng = np.random.default_rng(4)
    support = rng.random((2, 5, 3)) < 0.5
    support[0, :, 0], support[1, :, 1], support[1, :, 2] = False, True, support[1, :, 0]
    change = solve(_sums(x, r), 1e-12, intercept=intercept, support=support)
    assert not change.weight[~support].any()
    for g in range(2):
        for output in range(3):
            columns = x[g][:, support[g, :, output]]
            seen = np.hstack([columns, np.ones((len(columns), 1))]) if intercept else columns
            expected = np.linalg.lstsq(seen, r[g, :, output], rcond=None)[0]
            count = columns.shape[1]
            np.testing.assert_allclose(change.weight[g, support[g, :, output], output], expected[:count], rtol=1e-6)
            np.testing.assert_allclose(
                change.bias[g, output], expected[count] if intercept else 0, rtol=1e-6, atol=1e-9
            )


def test_full_support_is_no_restriction():
    sums = _sums(*_rows())
    whole = solve(sums, 1e-3, intercept=True)
    same = solve(sums, 1e-3, intercept=True, support=np.ones((2, 5, 3), dtype=np.bool_))
    np.testing.assert_allclose(same.weight, whole.weight, rtol=1e-9)
    np.testing.assert_allclose(same.bias, whole.bias, rtol=1e-9)
