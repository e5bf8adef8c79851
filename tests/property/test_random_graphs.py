"""Random graphs, random plans: what `properties` promises holds of each.

A failure prints the seed and the recipe with every step dropped that it does not need; replay it
with `check(Recipe(...), approximate)` or `check(draw(seed), approximate)`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import onnx
import pytest
from properties import Case, case_of
from pruning import analysed, in_mode
from random_graphs import Recipe, build, draw, random_model, shrunk

CHEAP: tuple[Callable[[Case], None], ...] = (Case.masked_is_pruned, Case.well_formed)
DEAR: tuple[Callable[[Case], None], ...] = (
    Case.inferred_shapes_are_those_of_the_run,
    Case.costs_are_as_planned,
    Case.counterpart_agrees,
    Case.same_plan_gives_the_same_bytes,
    Case.order_of_channels_is_free,
)


def check(recipe: Recipe, *, dear: bool) -> None:
    """Checks the model of a recipe in both modes, by a random plan and by one that keeps single channels."""
    source = build(recipe)
    exact = analysed(source)
    for approximate in (False, True):
        item = in_mode(exact, approximate=approximate)
        if approximate and not any(group.approximate for group in item.analysis.groups):
            return
        for single in (False, True):
            case = case_of(source, item, recipe.seed, single=single)
            for holds in CHEAP + (DEAR if dear and not single else ()):
                try:
                    holds(case)
                except AssertionError as error:
                    mode = f"approximate={approximate}, single={single}"
                    raise AssertionError(f"{holds.__name__} ({mode}): {error}") from error


def _fails(recipe: Recipe, wanted: type[Exception], *, dear: bool) -> bool:
    try:
        check(recipe, dear=dear)
    except Exception as error:  # noqa: BLE001  # whatever a smaller recipe raises tells whether it fails alike
        return type(error) is wanted
    return False


def check_seed(seed: int, *, dear: bool) -> None:
    """Checks the model of a seed, and names the smallest recipe that fails in its way."""
    recipe = draw(seed)
    try:
        check(recipe, dear=dear)
    except Exception as error:  # noqa: BLE001  # any error of a random graph is a finding, and is shrunk
        small = shrunk(recipe, partial(_fails, wanted=type(error), dear=dear))
        pytest.fail(f"random_model({seed}): {error}\nshrunk to {small!r}")


@pytest.mark.parametrize("block", range(12))
def test_random_graphs_keep_every_promise(block):
    for seed in range(block * 10, block * 10 + 10):
        check_seed(seed, dear=seed % 5 == 0)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(82))
def test_many_random_graphs_keep_every_promise(block):
    for seed in range(950 + block * 25, 950 + block * 25 + 25):
        check_seed(seed, dear=True)


def test_the_fast_graphs_hold_most_steps_and_find_groups():
    seeds = range(120)
    drawn = Counter(name for seed in seeds for name, _ in draw(seed).steps)
    kinds = {draw(seed).kind for seed in seeds}
    assert kinds == {"image", "signal", "volume", "sequence", "tokens"}
    operators = {node.op_type for seed in seeds for node in random_model(seed).graph.node}
    assert len(operators) > 70, sorted(operators)
    assert min(drawn.values()) >= 3, drawn


def test_same_seed_gives_the_same_model():
    assert random_model(3).SerializeToString() == random_model(3).SerializeToString()


@pytest.mark.parametrize(
    "promise", [Case.masked_is_pruned, Case.costs_are_as_planned, Case.same_plan_gives_the_same_bytes]
)
def test_promises_are_not_kept_by_a_model_pruned_to_another_plan(promise):
    source = random_model(2)
    item = analysed(source)
    half, single = (case_of(source, item, 2, single=single) for single in (False, True))
    promise(half)
    with pytest.raises(AssertionError):
        promise(replace(half, slim=single.slim))


def test_promise_of_form_is_not_kept_by_a_model_that_lost_a_node():
    source = random_model(2)
    case = case_of(source, analysed(source), 2)
    case.well_formed()
    renamed = onnx.ModelProto()
    renamed.CopyFrom(case.slim)
    renamed.graph.node[0].name = "another"
    with pytest.raises(AssertionError, match="renamed or lost"):
        replace(case, slim=renamed).well_formed()


def test_shrinking_leaves_the_steps_that_fail():
    recipe = draw(5, steps=12)
    assert len(recipe.steps) > 3
    culprit = recipe.steps[len(recipe.steps) // 2]
    assert shrunk(recipe, lambda r: culprit in r.steps).steps == (culprit,)
