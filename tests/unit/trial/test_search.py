"""The search for keep ratios, on a learner whose losses are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from allocation_problems import residual
from toy_learner import ToySearcher

from onnxprune.allocate import ALLOCATORS, Problem
from onnxprune.core.allocation import Allocation
from onnxprune.core.errors import UsageError
from onnxprune.core.search import SearchOptions


def solve(problem: Problem, **options) -> tuple[Allocation, ToySearcher]:
    searcher = ToySearcher(problem, **options)
    return ALLOCATORS.get("dsa")().solve(replace(problem, searcher=searcher)), searcher


@pytest.mark.parametrize(
    ("masks", "constraint"),
    [
        ("bernoulli", "elastic"),
        ("bernoulli", "projected"),
        ("bernoulli", "admm"),
        ("soft", "elastic"),
        pytest.param("soft", "projected", marks=pytest.mark.slow),
        pytest.param("soft", "admm", marks=pytest.mark.slow),
    ],
)
def test_a_group_that_is_worth_more_keeps_more(constraint, masks):
    problem = residual({"flops": 0.4}, align=1)
    options = SearchOptions(constraint=constraint, masks=masks)
    found, _ = solve(problem, worth={"s1b0": 30.0, "s1b1": 0.03}, steps=120, options=options)
    assert found.kept["s1b0"] > 1.3 * found.kept["s1b1"]
    assert 0.98 <= found.cost["flops"] / found.limit["flops"] <= 1.0


def test_counts_follow_the_ratios_when_nothing_is_aligned():
    problem = residual({"flops": 0.4}, align=1)
    found, _ = solve(problem, steps=60)
    ratios = found.search.points[-1].ratios
    for name, size in problem.sizes.items():
        assert abs(found.kept[name] - ratios[name] * size) <= 2


def test_the_search_tells_how_it_goes():
    problem = residual({"flops": 0.3})
    found, searcher = solve(problem, steps=80)
    points = found.search.points
    assert searcher.points == list(points)
    assert (points[0].step, points[-1].step, found.search.steps) == (1, 80, 80)
    assert points[0].used["flops"] > 2
    assert points[-1].used["flops"] <= 1 + 1e-9
    assert max(p.undecided for p in points) > 3 * points[-1].undecided
    assert set(points[0].ratios) == set(problem.sizes)


def test_masks_switch_whole_channels_and_leave_one():
    problem = residual({"flops": 0.02}, align=1)
    found, searcher = solve(problem, steps=40)
    for masks in searcher.learner.seen:
        for name, mask in masks.items():
            assert mask.shape == (problem.sizes[name],)
            assert set(np.unique(mask)) <= {0.0, 1.0}
            assert mask.sum() >= 1
    assert found.search is not None


def test_channels_that_are_gone_stay_off():
    problem = residual({"flops": 0.3})
    scores = {name: values.copy() for name, values in problem.scores.items()}
    scores["s2b0"][:24] = -1.0
    problem = replace(problem, scores=scores, ceilings={"s2b0": 40})
    found, searcher = solve(problem, steps=30)
    assert all((masks["s2b0"][:24] == 0).all() for masks in searcher.learner.seen)
    assert found.kept["s2b0"] <= 40


def test_masks_are_soft_on_request():
    _, searcher = solve(residual({"flops": 0.3}), steps=30, options=SearchOptions(masks="soft"))
    last = np.concatenate(list(searcher.learner.seen[15].values()))
    assert ((last > 0.01) & (last < 0.99)).any()


def test_groups_that_cannot_be_switched_go_with_the_others():
    problem = residual({"flops": 0.3}, align=1)
    found, searcher = solve(problem, steps=60, deaf=("s0b0", "s2b2"))
    assert "s0b0" not in searcher.learner.seen[0]
    ratio = found.search.points[-1].ratios["s2b2"]
    assert 0.1 < ratio < 0.9


def test_nothing_is_searched_when_nothing_has_to_go():
    problem = residual({"flops": 1.0})
    found, searcher = solve(problem)
    assert dict(found.kept) == problem.sizes
    assert searcher.learner is None


def test_data_are_asked_for():
    with pytest.raises(UsageError, match="--data"):
        ALLOCATORS.get("dsa")().solve(residual({"flops": 0.5}))
