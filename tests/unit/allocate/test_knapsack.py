"""The knapsack over levels, against trying every choice."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from allocation_problems import residual

from onnxprune.allocate import ALLOCATORS, Problem
from onnxprune.allocate.knapsack import _Levels, _spread
from onnxprune.axes import Poly
from onnxprune.core.group import Group


def additive(seed: int, share: float) -> Problem:
    """Four groups of up to twelve channels, costs per channel, two resources."""
    rng = np.random.default_rng(seed)
    sizes = {f"g{i}": int(rng.integers(4, 13)) for i in range(4)}
    costs = {
        resource: Poly({(name,): float(rng.integers(1, 20)) for name in sizes}) for resource in ("flops", "latency")
    }
    return Problem(
        groups=tuple(Group(name, size, ()) for name, size in sizes.items()),
        scores={name: rng.random(size) for name, size in sizes.items()},
        costs=costs,
        limits={resource: share * float(cost(sizes)) for resource, cost in costs.items()},
        align=1,
        floor=0.0,
    )


def value(problem: Problem, counts: tuple[int, ...]) -> float:
    ranked = (np.sort(problem.scores[name])[::-1] for name in problem.sizes)
    return float(sum(scores[:kept].sum() for scores, kept in zip(ranked, counts, strict=True)))


@pytest.mark.parametrize("share", [0.3, 0.6])
@pytest.mark.parametrize("seed", range(4))
def test_no_choice_that_fits_is_worth_more_when_costs_are_sums(seed, share):
    problem = additive(seed, share)
    names = list(problem.sizes)
    best = max(
        value(problem, counts)
        for counts in itertools.product(*(range(1, size + 1) for size in problem.sizes.values()))
        if all(c(dict(zip(names, counts, strict=True))) <= problem.limits[r] for r, c in problem.costs.items())
    )
    start = np.maximum(1, np.array([int(share * size * 0.9) for size in problem.sizes.values()]))
    found = _Levels(problem)._program(start, reach=0.99)
    counts = tuple(found.tolist())
    assert all(c(dict(zip(names, counts, strict=True))) <= problem.limits[r] for r, c in problem.costs.items())
    assert value(problem, counts) >= best * (1 - 2e-3)


def test_a_group_that_is_worth_more_keeps_more():
    problem = residual({"flops": 0.4}, align=1)
    scores = {name: values * {"s1b0": 10.0, "s1b1": 0.1}.get(name, 1.0) for name, values in problem.scores.items()}
    found = ALLOCATORS.get("knapsack")().solve(Problem(problem.groups, scores, problem.costs, problem.limits, 1))
    assert found.kept["s1b0"] > 2 * found.kept["s1b1"]


def test_levels_are_aligned_from_the_floor_to_the_whole():
    assert _spread(8, 3, 30).tolist() == [8, 16, 24, 30]
    assert _spread(1, 1, 3).tolist() == [1, 2, 3]
    many = _spread(8, 8, 1024)
    assert len(many) <= 16
    assert (many[0], many[-1]) == (8, 1024)
