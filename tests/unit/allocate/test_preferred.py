"""Which allocator is taken when none is asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from allocation_problems import residual
from toy_learner import ToySearcher

from onnxprune.allocate import preferred_allocator


def _timed():
    problem = residual({"flops": 0.5})
    return replace(
        problem, costs={**problem.costs, "latency": problem.costs["flops"]}, limits={"latency": problem.limits["flops"]}
    )


def test_ratios_are_learned_where_there_is_something_to_learn_on():
    problem = residual({"flops": 0.5})
    assert preferred_allocator(replace(problem, searcher=ToySearcher(problem, steps=1)))[0] == "dsa"


@pytest.mark.parametrize(("unit", "name"), [("loss", "knapsack"), ("share", "global"), ("rank", "global")])
def test_time_is_weighed_against_losses_only(unit, name):
    assert preferred_allocator(replace(_timed(), unit=unit))[0] == name


@pytest.mark.parametrize("unit", ["loss", "share", "rank"])
def test_a_ranking_decides_where_nothing_else_is_known(unit):
    assert preferred_allocator(replace(residual({"flops": 0.5}), unit=unit))[0] == "global"
