"""Placing channels: transportation against dense assignment, and steps that never lose."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from onnxprune.core.errors import InternalError
from onnxprune.tiles.placing import fill_positions, is_partial, place
from onnxprune.tiles.transport import transport


def _problem(seed, n=None, kinds=None):
    rng = np.random.default_rng(seed)
    n = n or int(rng.integers(1, 40))
    kinds = kinds or int(rng.integers(1, n + 1))
    capacity = np.bincount(np.concatenate([np.arange(kinds), rng.integers(kinds, size=n - kinds)]))
    style = seed % 4
    cost = rng.standard_normal((n, kinds))
    if style == 1:
        cost = np.round(cost)  # ties
    elif style == 2:
        cost *= np.exp(3 * rng.standard_normal((n, 1)))
    elif style == 3:
        cost[:, : kinds // 2] = cost[:, :1]
    return rng, cost, capacity


def _total(cost, kind):
    return cost[np.arange(len(cost)), kind].sum()


def _dense(cost, capacity):
    rows, columns = linear_sum_assignment(np.repeat(cost, capacity, axis=1))
    return np.repeat(cost, capacity, axis=1)[rows, columns].sum()


@pytest.mark.parametrize("seed", range(60))
def test_transport_is_as_cheap_as_dense_assignment(seed):
    rng, cost, capacity = _problem(seed)
    kind, prices = transport(cost, capacity)
    assert np.bincount(kind, minlength=len(capacity)).tolist() == capacity.tolist()
    best = _dense(cost, capacity)
    assert _total(cost, kind) == pytest.approx(best, rel=1e-9, abs=1e-9)
    other = cost + 0.3 * rng.standard_normal(cost.shape)
    again, _ = transport(other, capacity, prices)
    assert _total(other, again) == pytest.approx(_dense(other, capacity), rel=1e-9, abs=1e-9)


def test_transport_is_exact_where_prices_have_to_be_evened():
    _, cost, capacity = _problem(2, n=200, kinds=12)
    kind, _ = transport(cost, capacity, np.zeros(12))
    assert _total(cost, kind) == pytest.approx(_dense(cost, capacity), rel=1e-9)


def test_transport_is_exact_when_nothing_matters():
    kind, _ = transport(np.zeros((6, 3)), np.array([1, 2, 3]))
    assert np.bincount(kind).tolist() == [1, 2, 3]


def test_transport_refuses_too_little_room():
    with pytest.raises(InternalError, match="do not fill"):
        transport(np.zeros((3, 2)), np.array([1, 1]))


@pytest.mark.parametrize(("n", "kinds", "limit"), [(60, 6, 100), (60, 60, 100), (60, 50, 20), (60, 6, 20)])
def test_a_step_never_costs_more(n, kinds, limit):
    rng, cost, capacity = _problem(5, n, kinds)
    of = rng.permutation(np.repeat(np.arange(kinds), capacity))
    order = rng.permutation(n)
    before = cost[order, of].sum()
    exact = _dense(cost, capacity)
    for _ in range(40 if is_partial(n, kinds, limit) else 1):
        order, _ = place(cost, of, order, None, limit, rng)
        after = cost[order, of].sum()
        assert sorted(order.tolist()) == list(range(n))
        assert after <= before + 1e-12
        before = after
    if not is_partial(n, kinds, limit):
        assert before == pytest.approx(exact, rel=1e-9)


def test_a_step_without_gain_leaves_the_order_alone():
    rng, cost, capacity = _problem(5, 40, 5)
    of = np.repeat(np.arange(5), capacity)
    best, prices = place(cost, of, rng.permutation(40), None, 100, rng)
    again, _ = place(cost, of, best, prices, 100, rng)
    assert again is best


def test_channels_in_a_right_place_stay():
    kinds = np.array([0, 0, 1, 1])
    order = fill_positions(np.array([0, 1, 1, 0]), kinds, np.array([0, 1, 2, 3]))
    assert order.tolist() == [0, 3, 2, 1]
