"""The iterative method: what it proposes in a round, and which group it takes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from allocation_problems import dense, depthwise, residual
from toy_learner import ToySearcher

from onnxprune.allocate import ALLOCATORS
from onnxprune.allocate.netadapt import _Candidates
from onnxprune.core.errors import UsageError

PROBLEMS = [
    residual({"flops": 0.3}),
    residual({"flops": 0.3}, align=1),
    depthwise({"flops": 0.2, "params": 0.4}),
    dense({"params": 0.3}, align=1),
]


def one_by_one(candidates: _Candidates, problem, counts, target: float) -> dict[str, int]:
    """The same proposals, count after count."""
    reached, partial = {}, {}
    for place, name in enumerate(problem.sizes):
        unit, floor = int(candidates._units[place]), int(candidates._floors[place])
        steps = [n for n in range((counts[name] - 1) // unit * unit, 0, -unit) if n >= floor]
        fitting = [n for n in steps if candidates._use({**counts, name: n}).max() <= target]
        if fitting:
            reached[name] = fitting[0]
        elif steps:
            partial[name] = steps[-1]
    return reached or partial


@pytest.mark.parametrize("problem", PROBLEMS)
def test_each_group_gives_up_as_little_as_reaches_the_target(problem):
    candidates = _Candidates(problem, tuple(problem.sizes), rounds=12)
    rng = np.random.default_rng(0)
    seen = 0
    for number in range(12):
        counts = {name: int(rng.integers(size // 2, size + 1)) for name, size in problem.sizes.items()}
        target = candidates._targets[number]
        if candidates._use(counts).max() > target:
            assert candidates.of_round(number, counts) == one_by_one(candidates, problem, counts, target)
            seen += 1
        else:
            assert candidates.of_round(number, counts) == {}
    assert seen > 3


def test_targets_fall_by_the_same_factor_to_the_limit():
    problem = residual({"flops": 0.25})
    targets = _Candidates(problem, tuple(problem.sizes), rounds=4)._targets
    np.testing.assert_allclose(targets, [4**0.75, 2.0, 4**0.25, 1.0])


def test_groups_that_cannot_be_switched_are_not_proposed():
    problem = residual({"flops": 0.3})
    assert set(_Candidates(problem, ("s0b0", "s1b1"), 10).of_round(0, problem.sizes)) == {"s0b0", "s1b1"}


def test_a_group_that_is_worth_more_keeps_more():
    problem = residual({"flops": 0.4}, align=1)
    searcher = ToySearcher(problem, worth={"s1b0": 30.0, "s1b1": 0.03})
    found = ALLOCATORS.get("netadapt")().solve(replace(problem, searcher=searcher))
    assert found.kept["s1b0"] > 1.3 * found.kept["s1b1"]
    assert 0.98 <= found.cost["flops"] / found.limit["flops"] <= 1.0
    assert searcher.points[-1].used["flops"] <= 1 + 1e-9


@pytest.mark.parametrize("name", ["dsa", "netadapt"])
def test_groups_that_could_not_be_tried_out_are_named(name):
    problem = residual({"flops": 0.5})
    found = ALLOCATORS.get(name)().solve(replace(problem, searcher=ToySearcher(problem, deaf=("s0b0", "s1b1"))))
    assert sum("channels of s0b0, s1b1 can be switched off" in note for note in found.notes) == 1
    heard = ALLOCATORS.get(name)().solve(replace(problem, searcher=ToySearcher(problem)))
    assert not any("switched off" in note for note in heard.notes)


def test_data_are_asked_for():
    with pytest.raises(UsageError, match="--data"):
        ALLOCATORS.get("netadapt")().solve(residual({"flops": 0.5}))
