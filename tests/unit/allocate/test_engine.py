"""The engine on problems small enough to work out by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from onnxprune.allocate import ALLOCATORS, Problem, allocate
from onnxprune.axes import Poly
from onnxprune.core.errors import BudgetError, InternalError
from onnxprune.core.group import Group, Member


def linear(prices: dict[str, float], size: int, limit: float, align: str | int = 1, floor: float = 0.0) -> Problem:
    """Groups of `size` channels, each channel at the group's price; scores fall from 1 to 1 / size."""
    groups = tuple(Group(name, size, ()) for name in prices)
    scores = {name: np.arange(size, 0, -1) / size for name in prices}
    cost = Poly({(name,): price for name, price in prices.items()})
    return Problem(groups, scores, {"flops": cost}, {"flops": limit}, align, floor)


def solve(name: str, problem: Problem) -> dict[str, int]:
    return dict(ALLOCATORS.get(name)().solve(problem).kept)


def test_uniform_keeps_one_ratio_when_sizes_differ():
    sizes = {"a": 100, "b": 50, "c": 10}
    cost = Poly({("a",): 1.0, ("b",): 2.0, ("c",): 10.0})
    scores = {n: np.random.default_rng(0).random(s) for n, s in sizes.items()}
    groups = tuple(Group(n, s, ()) for n, s in sizes.items())
    assert solve("uniform", Problem(groups, scores, {"flops": cost}, {"flops": 120.0}, 1)) == {"a": 40, "b": 20, "c": 4}


@pytest.mark.parametrize("unit", [1.0, 7e-9])
def test_global_keeps_what_is_above_one_threshold_of_shares_when_scores_differ(unit):
    problem = linear({"a": 1.0, "b": 1.0}, 100, 50.0)
    wide = np.arange(100) / 100
    scores = {"a": wide, "b": unit * (wide.mean() + (wide - wide.mean()) / 3)}
    found = solve("global", Problem(problem.groups, scores, problem.costs, problem.limits, 1))
    # above t lie 100 (1 - t) of a and 100 (1.99 - 3 t) of b: 50 in all at t = 0.6225
    assert found == {"a": 38, "b": 12}


def test_global_leaves_out_channels_that_an_earlier_phase_took():
    problem = linear({"a": 1.0, "b": 1.0}, 4, 4.0)
    scores = {"a": np.array([-1.0, 3.0, -1.0, 1.0]), "b": np.array([1.0, 2.0, 3.0, 4.0])}
    whole = Problem(problem.groups, scores, problem.costs, problem.limits, 1, ceilings={"a": 2})
    assert solve("global", whole) == {"a": 1, "b": 3}


def test_greedy_takes_the_least_loss_per_cost_first():
    problem = linear({"a": 1.0, "b": 10.0}, 10, 60.0)
    scores = {"a": np.full(10, 1.0), "b": np.full(10, 5.0)}
    # a loses 1 per unit of cost, b 0.5: b goes first
    assert solve("greedy", Problem(problem.groups, scores, problem.costs, problem.limits, 1)) == {"a": 10, "b": 5}
    scores = {"a": np.full(10, 0.1), "b": np.full(10, 5.0)}
    found = solve("greedy", Problem(problem.groups, scores, problem.costs, {"flops": 103.0}, 1))
    assert found == {"a": 3, "b": 10}


def test_counts_are_whole_units_or_complete_when_aligned():
    assert solve("uniform", linear({"a": 1.0}, 100, 57.0, align=8)) == {"a": 56}
    assert solve("uniform", linear({"a": 1.0, "b": 50.0}, 20, 920.0, align=8)) == {"a": 20, "b": 18}


def test_unit_of_one_group_gives_way_when_units_miss_the_band():
    problem = linear({"a": 1.0, "b": 1.0}, 64, 60.0, align=8)
    found = allocate(problem, problem.scores)
    # units of 8 end at 32 + 24 = 56, which is 93 % of 60
    assert dict(found.kept) == {"a": 36, "b": 24}
    assert dict(found.alignment) == {"a": 4, "b": 8}
    (note,) = found.notes
    assert "1 group keeps no multiple of 8 channels" in note
    assert "a keeps 36 of 64 channels (a multiple of 4)" in note
    assert "98 % and 100 % of the flops budget" in note


def test_floor_holds_when_scores_say_nothing_of_a_group():
    problem = linear({"a": 1.0, "b": 1.0}, 50, 30.0, floor=0.1)
    scores = {"a": problem.scores["a"], "b": np.zeros(50)}
    assert solve("global", Problem(problem.groups, scores, problem.costs, problem.limits, 1, 0.1)) == {"a": 25, "b": 5}


def test_floor_is_rounded_down_to_a_unit_when_it_holds_one():
    problem = linear({"a": 1.0, "b": 1.0}, 100, 60.0, align=8, floor=0.1)
    scores = {"a": problem.scores["a"], "b": np.zeros(100)}
    found = allocate(Problem(problem.groups, scores, problem.costs, problem.limits, 8, 0.1), scores)
    assert found.kept["b"] == 8


def test_floors_give_way_together_when_the_budget_is_below_them():
    found = allocate(linear({"a": 1.0, "b": 1.0}, 100, 10.0, floor=0.1), {n: np.ones(100) for n in "ab"})
    assert dict(found.kept) == {"a": 5, "b": 5}
    (note,) = found.notes
    assert note.startswith("2 groups keep fewer channels than the floor")
    assert "a keeps 5 of 100 channels (floor 10); b keeps 5 of 100 channels (floor 10)" in note


def test_coarse_nets_say_what_was_reached_when_the_band_cannot_be():
    found = allocate(linear({"a": 10.0}, 4, 25.0), {"a": np.ones(4)})
    assert dict(found.kept) == {"a": 2}
    assert found.cost["flops"] == 20.0
    assert found.notes[0].startswith("Only 80 % of the flops budget is used: one channel more exceeds it")


def test_channels_are_exchanged_when_single_ones_are_too_coarse():
    # worth alone leads to 4 * 3 + 1 * 7 = 19, where one more of 7 is too much; 3 * 3 + 2 * 7 = 23
    problem = linear({"cheap": 3.0, "dear": 7.0}, 4, 23.0)
    found = allocate(problem, {"cheap": np.ones(4), "dear": np.zeros(4)})
    assert found.cost["flops"] == 23.0
    assert dict(found.kept) == {"cheap": 3, "dear": 2}


def test_whole_units_are_exchanged_before_any_gives_way():
    # worth leads to 32 * 8 + 8 * 5 = 296, 95 % of the limit, and another unit of either is too much
    problem = linear({"dear": 8.0, "cheap": 5.0}, 64, 312.0, align=8)
    found = allocate(problem, {"dear": np.ones(64), "cheap": np.zeros(64)})
    assert dict(found.kept) == {"dear": 24, "cheap": 24}
    assert not found.notes


@pytest.mark.parametrize("giver", ["a", "b"])
def test_the_unit_that_is_worth_least_is_given_first(giver):
    problem = linear({"a": 8.0, "b": 8.0, "c": 5.0}, 32, 312.0, align=8)
    worth = {name: np.linspace(2, 1, 32) - 0.01 * (name == giver) for name in "ab"}
    found = allocate(problem, {**worth, "c": np.zeros(32)})
    assert dict(found.kept) == {"a": 16, "b": 16, "c": 24} | {giver: 8}


def test_least_worthy_channels_are_the_ones_to_go():
    worth = {"a": np.array([0.9, 0.1, 0.8, 0.2]), "b": np.array([0.5, 0.6, 0.3, 0.4])}
    problem = linear({"a": 1.0, "b": 1.0}, 4, 5.0)
    assert dict(allocate(problem, worth).kept) == {"a": 2, "b": 3}


def test_lower_index_group_wins_when_worths_are_equal():
    problem = linear({"b": 1.0, "a": 1.0}, 10, 11.0)
    assert dict(allocate(problem, {n: np.ones(10) for n in "ab"}).kept) == {"b": 10, "a": 1}


def test_error_says_so_when_nothing_can_be_pruned():
    problem = Problem((), {}, {"flops": Poly.constant(1e6)}, {"flops": 5e5})
    with pytest.raises(BudgetError, match=r"with nothing to prune\. Reachable: flops 100 % to 100 %"):
        allocate(problem, {})


@pytest.mark.parametrize(
    ("scores", "limits", "message"),
    [
        ({"a": np.ones(3)}, {"flops": 1.0}, "needs 4 finite scores"),
        ({"a": np.array([1, 2, 3, np.nan])}, {"flops": 1.0}, "needs 4 finite scores"),
        ({}, {"flops": 1.0}, "needs 4 finite scores"),
        ({"a": np.ones(4)}, {"latency": 1.0}, "needs a cost"),
        ({"a": np.ones(4)}, {"flops": 0.0}, "limit above zero"),
    ],
)
def test_problem_is_refused_when_its_parts_do_not_fit(scores, limits, message):
    with pytest.raises(InternalError, match=message):
        Problem((Group("a", 4, ()),), scores, {"flops": Poly.variable("a")}, limits)


def test_problem_is_refused_when_a_cost_names_a_stranger():
    with pytest.raises(InternalError, match=r"\['b'\]"):
        Problem((Group("a", 4, ()),), {"a": np.ones(4)}, {"flops": Poly.variable("b")}, {"flops": 1.0})


def test_no_group_grows_when_an_earlier_phase_took_channels():
    before = linear({"a": 1.0, "b": 1.0}, 32, 40.0, align=8)
    problem = dataclasses.replace(before, ceilings={"a": 9})
    assert problem.available == {"a": 9, "b": 32}
    found = solve("global", problem)
    assert found["a"] <= 9
    assert 0.98 * 40 <= sum(found.values()) <= 40


def test_everything_left_is_kept_when_the_budget_allows_it():
    problem = dataclasses.replace(linear({"a": 1.0, "b": 1.0}, 32, 50.0, align=8), ceilings={"a": 9})
    assert solve("uniform", problem) == {"a": 9, "b": 32}


def test_problem_is_refused_when_a_ceiling_is_above_the_size():
    with pytest.raises(InternalError, match="cannot keep 33 of 32"):
        dataclasses.replace(linear({"a": 1.0}, 32, 10.0), ceilings={"a": 33})


def test_isomorphic_ranks_groups_of_one_make_together():
    sizes = {"a": 10, "b": 10, "c": 10}
    scores = {"a": np.full(10, 3.0), "b": np.full(10, 1.0), "c": 100.0 + np.arange(10)}
    trunk = (Member("w", 0, "producer", "Conv", "n", 1), Member("v", 0, "producer", "Conv", "m", 1))
    inner = (Member("u", 0, "producer", "Conv", "o", 1),)
    groups = tuple(Group(n, 10, trunk if n == "c" else inner) for n in sizes)
    costs = {"flops": Poly({(name,): 1.0 for name in sizes})}
    found = solve("isomorphic", Problem(groups, scores, costs, {"flops": 15.0}, 1))
    # a and b share one ranking, of which the upper half is a; c keeps half of its own
    assert found == {"a": 9, "b": 1, "c": 5}


def test_global_takes_ranks_as_they_are():
    problem = linear({"a": 1.0, "b": 1.0}, 10, 10.0)
    scores = {"a": np.linspace(0.6, 1.0, 10), "b": np.linspace(0.1, 0.5, 10)}
    shared = Problem(problem.groups, scores, problem.costs, problem.limits, 1)
    assert solve("global", dataclasses.replace(shared, unit="rank")) == {"a": 9, "b": 1}
    assert solve("global", shared)["b"] > 3


def _with_units(problem, units):
    groups = tuple(dataclasses.replace(group, unit=unit) for group, unit in zip(problem.groups, units, strict=True))
    return dataclasses.replace(problem, groups=groups)


@pytest.mark.parametrize(
    ("units", "left", "advice"),
    [
        (
            ("channel", "channel"),
            "one channel left in each of the 2 prunable groups. Reach",
            "which channels are frozen",
        ),
        (
            ("block", "block"),
            "out of reach even with one block of inputs left to each tile of the 2 layers that are",
            "(--pattern both)",
        ),
        (("channel", "block"), "each of the 1 prunable groups and one block of inputs left to each", "(--block)"),
    ],
)
def test_budgets_out_of_reach_speak_of_what_was_to_go(units, left, advice):
    problem = _with_units(linear({"a": 1.0, "b": 1.0}, 100, 1.0), units)
    with pytest.raises(BudgetError) as error:
        allocate(problem, problem.scores)
    assert f"{left}" in str(error.value)
    assert advice in str(error.value)
    assert "Reachable: flops 1 % to 100 %" in str(error.value)
    assert ("one channel" in str(error.value)) == ("channel" in units)
    assert ("one block" in str(error.value)) == ("block" in units)


def test_notes_on_tiles_speak_of_blocks():
    problem = _with_units(linear({"a": 1.0, "b": 1.0}, 100, 10.0, floor=0.1), ("block", "block"))
    (note,) = allocate(problem, {n: np.ones(100) for n in "ab"}).notes
    assert "2 groups keep fewer blocks than the floor" in note
    assert "a keeps 5 of 100 blocks (floor 10)" in note
    coarse = _with_units(linear({"a": 10.0}, 4, 25.0), ("block",))
    assert "one block more exceeds it" in allocate(coarse, {"a": np.ones(4)}).notes[0]
