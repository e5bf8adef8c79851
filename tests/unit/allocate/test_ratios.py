"""Keep ratios on their way: budgets hold, and they end where gain and cost balance."""

from __future__ import annotations

import numpy as np
import pytest

from onnxprune.allocate.cost_table import CostTable
from onnxprune.allocate.project import Budgets
from onnxprune.allocate.ratios import make_ratios
from onnxprune.axes import Poly

CONSTRAINTS = ("elastic", "projected", "admm")
SIZES = np.array([16, 32, 64, 64])
NAMES = ("a", "b", "c", "d")
LOWEST = np.full(4, 0.05)
HEARD = np.ones(4, bool)


def linear(weights: tuple[float, ...], share: float = 0.4) -> Budgets:
    """Groups that cost `weights` per channel, of which `share` may be spent."""
    cost = Poly({(name,): weight for name, weight in zip(NAMES, weights, strict=True)})
    table = CostTable(NAMES, {"flops": cost})
    return Budgets(table, SIZES, share * table.cost(SIZES))


def chain(share: float = 0.3) -> Budgets:
    """a → b → c → d, and a trunk at a."""
    cost = Poly({("a", "a"): 3.0, ("a", "b"): 2.0, ("b", "c"): 1.0, ("c", "d"): 0.5, ("d",): 4.0})
    table = CostTable(NAMES, {"flops": cost, "params": cost + Poly({("c",): 100.0})})
    return Budgets(table, SIZES, share * table.cost(SIZES))


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_budgets_hold_at_the_end_when_gradients_pull_up(constraint):
    ratios = make_ratios(constraint, chain(), LOWEST, HEARD)
    rng = np.random.default_rng(0)
    for _ in range(60):
        ratios.step(-rng.random(4), 1.0)
    ratios.settle(1.0)
    assert max(ratios.used().values()) <= 1 + 1e-9
    assert max(ratios.used().values()) > 0.9
    assert (ratios.values >= LOWEST).all()
    assert (ratios.values <= 1).all()


@pytest.mark.parametrize("constraint", ["elastic", "projected"])
def test_budgets_hold_after_every_step_when_they_come_down(constraint):
    ratios = make_ratios(constraint, chain(), LOWEST, HEARD)
    for scale in np.linspace(3.0, 1.0, 10):
        ratios.step(np.array([-1.0, -0.1, -3.0, -0.5]), scale)
        assert max(ratios.used().values()) <= scale + 1e-9


@pytest.mark.parametrize(("constraint", "off"), [("elastic", 0.03), ("projected", 0.06), ("admm", 0.06)])
def test_ratios_end_where_gain_and_cost_balance(constraint, off):
    # L = −Σ w log α under Σ c α ≤ B has its least at α_k = B w_k / (c_k Σ w)
    gains, costs = np.array([1.0, 2.0, 3.0, 2.0]), np.array([2.0, 1.0, 1.0, 0.5])
    budgets = linear(tuple(costs / SIZES))
    best = 0.4 * costs.sum() * gains / (costs * gains.sum())
    assert (best < 1).all()
    ratios = make_ratios(constraint, budgets, LOWEST, HEARD)
    path = []
    for _ in range(250):
        ratios.step(-gains / ratios.values, 1.0)
        path.append(ratios.values)
    np.testing.assert_allclose(np.mean(path[-100:], axis=0), best, atol=off)


def test_a_group_without_gradient_shares_the_fall_when_the_way_is_elastic():
    heard = np.array([True, True, True, False])
    ratios = make_ratios("elastic", linear((1.0, 1.0, 1.0, 1.0)), LOWEST, heard)
    for _ in range(40):
        ratios.step(np.array([-16.0, -32.0, -64.0, 0.0]), 1.0)
    np.testing.assert_allclose(ratios.values, 0.4, rtol=1e-6)


def test_the_lowest_ratios_are_kept_when_even_they_cost_too_much():
    ratios = make_ratios("elastic", linear((1.0, 1.0, 1.0, 1.0), share=0.01), LOWEST, HEARD)
    ratios.step(-np.ones(4), 1.0)
    np.testing.assert_allclose(ratios.values, LOWEST)
