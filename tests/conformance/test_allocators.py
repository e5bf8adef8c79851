"""What every registered allocator promises, on problems shaped like real nets and on random ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from allocation_problems import (
    FAMILIES,
    depthwise,
    is_aligned,
    large,
    lowest_share,
    random_problems,
    residual,
    with_limit,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_learner import ToySearcher

from onnxprune.allocate import ALLOCATORS, Allocator, Problem
from onnxprune.core.allocation import Allocation
from onnxprune.core.errors import BudgetError

SHARES = (0.9, 0.7, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05)
NAMES = ALLOCATORS.names()
LEARNING = ("dsa", "netadapt")
RANKING = tuple(name for name in NAMES if name not in ("dsa", "netadapt", "knapsack"))
"""Those that rank channels once for all budgets; the others choose anew, and only the band orders their costs."""


class OnData:
    """An allocator that has something to learn on."""

    def __init__(self, name: str) -> None:
        self.name, self.inner = name, ALLOCATORS.get(name)()

    def solve(self, problem: Problem) -> Allocation:
        return self.inner.solve(replace(problem, searcher=ToySearcher(problem, steps=5)))


@pytest.fixture(params=NAMES)
def allocator(request: pytest.FixtureRequest) -> Allocator:
    return OnData(request.param)


def check_promises(problem: Problem, found: Allocation) -> None:
    """Limits, ranges, band, alignment and floors hold, or a note says why not."""
    for group in problem.groups:
        assert 1 <= found.kept[group.name] <= group.size
        kept, unit = found.kept[group.name], found.alignment[group.name]
        assert kept == group.size or kept % unit == 0
        if problem.align == "auto" and not is_aligned(kept, group):
            assert any(f"{group.name} keeps {kept} of {group.size}" in note for note in found.notes)
    for resource, limit in problem.limits.items():
        assert found.cost[resource] == pytest.approx(problem.costs[resource](found.kept), rel=1e-12)
        assert found.cost[resource] <= limit
        assert found.limit[resource] == limit
    used = max(found.cost[r] / limit for r, limit in problem.limits.items())
    complete = dict(found.kept) == problem.sizes
    if used < 0.98 and not complete:
        assert found.notes[-1].startswith("Only ")
        for group in problem.groups:
            more = dict(found.kept) | {group.name: found.kept[group.name] + 1}
            assert more[group.name] > group.size or any(problem.costs[r](more) > x for r, x in problem.limits.items())


@pytest.mark.parametrize("align", ["auto", 1, 4])
@pytest.mark.parametrize("family", FAMILIES, ids=[f.__name__ for f in FAMILIES])
def test_band_is_met_without_excuse_when_the_net_is_real(allocator, family, align):
    for share in SHARES:
        problem = family({"flops": share}, align=align)
        found = allocator.solve(problem)
        check_promises(problem, found)
        assert found.cost["flops"] >= 0.98 * found.limit["flops"]


@pytest.mark.parametrize("family", FAMILIES, ids=[f.__name__ for f in FAMILIES])
def test_every_count_is_aligned_when_the_budget_is_ordinary(allocator, family):
    for share in (0.7, 0.5, 0.4, 0.3):
        problem = family({"flops": share})
        found = allocator.solve(problem)
        out = [g.name for g in problem.groups if not is_aligned(found.kept[g.name], g)]
        assert len(out) <= 1, found.notes
        assert len(found.notes) == len(out)


@pytest.mark.parametrize("family", FAMILIES, ids=[f.__name__ for f in FAMILIES])
def test_all_limits_hold_when_there_are_two(allocator, family):
    for flops, params in ((0.5, 0.3), (0.3, 0.5), (0.4, 0.4), (0.1, 1.0), (1.0, 0.2)):
        problem = family({"flops": flops, "params": params})
        check_promises(problem, allocator.solve(problem))


def test_no_layer_is_severed_when_the_budget_allows_a_tenth_of_it(allocator):
    problem = residual({"flops": 0.2})
    scores = {name: s * (0.01 if name == "s1b1" else 1.0) for name, s in problem.scores.items()}
    found = allocator.solve(Problem(problem.groups, scores, problem.costs, problem.limits, align=1))
    assert found.kept["s1b1"] >= 4


def test_everything_is_kept_when_the_budget_is_the_original(allocator):
    problem = depthwise({"flops": 1.0})
    found = allocator.solve(problem)
    assert dict(found.kept) == problem.sizes
    assert found.notes == ()


def test_everything_is_kept_and_said_when_the_limit_is_above_the_original(allocator):
    problem = with_limit(residual({"flops": 1.0}), "flops", 1e12)
    found = allocator.solve(problem)
    assert dict(found.kept) == problem.sizes
    assert "1.00 T MACs is above what the model costs" in found.notes[0]


def test_error_names_range_and_budget_when_nothing_fits(allocator):
    problem = residual({"flops": 1e-6, "params": 0.5})
    with pytest.raises(BudgetError) as error:
        allocator.solve(problem)
    text = str(error.value)
    assert error.value.exit_code == 5
    assert "flops of " in text.split("out of reach")[0]
    assert "params of " not in text.split("out of reach")[0]
    assert f"flops {100 * lowest_share(with_limit(problem, 'flops', 1.0)):.3g} % to 100 %" in text
    assert "params " in text.split("Reachable:")[1]


def test_one_channel_per_group_is_kept_when_that_is_the_limit(allocator):
    problem = residual({"flops": 0.5})
    ones = dict.fromkeys(problem.sizes, 1)
    found = allocator.solve(with_limit(problem, "flops", problem.costs["flops"](ones)))
    assert dict(found.kept) == ones
    below = sum(size > 10 for size in problem.sizes.values())
    assert sum("than the floor" in note for note in found.notes) == (below > 0)
    assert any(f"{below} groups keep" in note or below == 1 for note in found.notes)


@pytest.mark.parametrize("align", ["auto", 1])
@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.01, 0.001])
def test_band_is_met_when_the_net_is_large(allocator, share, align):
    few = allocator.name in LEARNING  # which try many masks
    found = allocator.solve(large(share, *((25, 100, 800) if few else ()), align=align))
    assert 0.98 <= found.cost["flops"] / found.limit["flops"] <= 1.0


@pytest.mark.parametrize("name", [name for name in NAMES if name not in LEARNING])
@settings(max_examples=30)
@given(problem=random_problems(), share=st.floats(1e-6, 1.0))
def test_promises_hold_when_the_problem_is_random(name, problem, share):
    check_random(name, problem, share)


@pytest.mark.parametrize("name", LEARNING)
@settings(max_examples=8)
@given(problem=random_problems(), share=st.floats(1e-6, 1.0))
def test_promises_of_those_that_learn_hold_when_the_problem_is_random(name, problem, share):
    check_random(name, problem, share)


def check_random(name: str, problem: Problem, share: float) -> None:
    """Solves a random problem twice."""
    lowest = lowest_share(problem)
    limits = {r: (lowest + share * (1 - lowest)) * cost(problem.sizes) for r, cost in problem.costs.items()}
    problem = Problem(problem.groups, problem.scores, problem.costs, limits, problem.align, problem.floor)
    found = OnData(name).solve(problem)
    check_promises(problem, found)
    assert OnData(name).solve(problem) == found


@pytest.mark.parametrize("name", RANKING)
@settings(max_examples=6)
@given(problem=random_problems(resources=1), share=st.floats(0.02, 1.0))
def test_cost_does_not_fall_when_the_budget_grows(name, problem, share):
    allocator = ALLOCATORS.get(name)()
    (resource,) = problem.costs
    original = problem.costs[resource](problem.sizes)
    lowest = lowest_share(problem)
    close = share * np.linspace(0.95, 1.0, 12)
    before = 0.0
    for factor in np.sort(np.concatenate([close, np.linspace(0.05, 1.0, 6)])):
        limit = (lowest + factor * (1 - lowest)) * original
        cost = allocator.solve(with_limit(problem, resource, limit)).cost[resource]
        assert cost >= before
        before = cost


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("family", FAMILIES, ids=[f.__name__ for f in FAMILIES])
def test_a_budget_that_is_larger_by_more_than_the_band_costs_more(name, family):
    costs = [OnData(name).solve(family({"flops": share}, align=1)).cost["flops"] for share in (0.3, 0.32, 0.35, 0.5)]
    assert costs == sorted(costs)
    assert len(set(costs)) == len(costs)
