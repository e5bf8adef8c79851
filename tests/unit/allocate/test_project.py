"""Projection onto budgets, against scipy's SLSQP and against what it must be."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from onnxprune.allocate.cost_table import CostTable
from onnxprune.allocate.project import Budgets
from onnxprune.axes import Poly


def problem(seed: int, resources: int, groups: int = 12) -> tuple[Budgets, np.ndarray, np.ndarray]:
    """Chains with a residual group or two, at a random share of their cost, and wanted ratios above it."""
    rng = np.random.default_rng(seed)
    names = [f"g{i}" for i in range(groups)]
    sizes = rng.integers(8, 128, groups)
    trunk = set(rng.choice(groups, 2, replace=False).tolist())
    costs = {}
    for resource in range(resources):
        terms: dict[tuple[str, ...], float] = {}
        for i in range(groups - 1):
            key = tuple(sorted((names[i], names[i + 1])))
            terms[key] = float(rng.uniform(0.1, 1))
            if i in trunk:
                terms[names[i], names[i]] = float(rng.uniform(0.1, 1))
        for name in names:
            terms[(name,)] = float(rng.uniform(1, 10))
        costs[f"r{resource}"] = Poly(terms)
    table = CostTable(names, costs)
    whole = table.cost(sizes)
    budgets = Budgets(table, sizes, whole * rng.uniform(0.2, 0.7, resources))
    return budgets, rng.uniform(0.3, 1.2, groups), np.full(groups, 0.05)


@pytest.mark.parametrize("resources", [1, 2, 3])
@pytest.mark.parametrize("seed", range(12))
def test_nearest_is_as_near_as_what_slsqp_finds(seed, resources):
    budgets, wanted, lowest = problem(seed, resources)
    found = budgets.nearest(wanted, lowest)
    assert (budgets.used(found) <= 1 + 1e-12).all()
    assert (found >= lowest).all()
    assert (found <= 1).all()
    best = min(
        minimize(
            lambda z: 0.5 * np.square(z - wanted).sum(),
            start,
            jac=lambda z: z - wanted,
            bounds=[(low, 1.0) for low in lowest],
            constraints={"type": "ineq", "fun": lambda z: 1 - budgets.used(z), "jac": lambda z: -budgets.slopes(z)},
            method="SLSQP",
            options={"maxiter": 500, "ftol": 1e-14},
        ).fun
        for start in (found, lowest + 0.2, np.clip(wanted, lowest, 1.0))
    )
    assert 0.5 * np.square(found - wanted).sum() <= best * (1 + 1e-5) + 1e-9


def test_ratios_within_the_budget_stay_and_others_use_it_up():
    budgets, wanted, lowest = problem(0, 1)
    small = np.full_like(wanted, 0.1)
    np.testing.assert_array_equal(budgets.nearest(small, lowest), small)
    whole = np.ones_like(wanted)
    assert budgets.used(budgets.nearest(whole, lowest)).max() == pytest.approx(1.0, abs=1e-6)
    assert budgets.used(budgets.nearest(whole, lowest, scale=0.5)).max() == pytest.approx(0.5, abs=1e-6)


def test_the_lowest_ratios_come_back_where_nothing_fits():
    budgets, wanted, _ = problem(0, 1)
    lowest = np.full_like(wanted, 0.9)
    np.testing.assert_array_equal(budgets.nearest(wanted, lowest), lowest)


@pytest.mark.parametrize("seed", range(3))
def test_slopes_are_those_of_what_is_used(seed):
    budgets, wanted, _ = problem(seed, 2)
    slopes = budgets.slopes(wanted)
    for group in range(len(wanted)):
        step = np.zeros_like(wanted)
        step[group] = 1e-6
        np.testing.assert_allclose(
            slopes[:, group], (budgets.used(wanted + step) - budgets.used(wanted - step)) / 2e-6, rtol=1e-6
        )
