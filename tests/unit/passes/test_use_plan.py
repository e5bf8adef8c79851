"""use_plan and check_tiles: plans that do not fit the model at hand are refused, with what does not fit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from graphs import model_of

import onnxprune
from onnxprune.core.budget import Budget
from onnxprune.core.errors import BudgetError, InputError
from onnxprune.core.run import run_passes
from onnxprune.core.stage import Bench
from onnxprune.core.tiling import Tiling
from onnxprune.passes.check_tiles import CheckTiles
from onnxprune.passes.import_model import ImportModel
from onnxprune.passes.match_plan import MatchPlan
from onnxprune.passes.prune_channels import PruneChannels
from onnxprune.passes.use_plan import UsePlan
from onnxprune.pipeline.deciding import analysing
from onnxprune.recipe import Recipe

NET = """g (float[N, 3, 8, 8] x, float[8, 3, 3, 3] a, float[8] ab, float[16, 8, 3, 3] b, float[16, 6] c)
    => (float[N, 6] y) {
    h = Conv<pads=[1, 1, 1, 1]>(x, a, ab)
    h1 = Relu(h)
    h2 = Conv<pads=[1, 1, 1, 1]>(h1, b)
    h3 = Relu(h2)
    p = GlobalAveragePool(h3)
    f = Flatten(p)
    y = MatMul(f, c)
}"""


@pytest.fixture(scope="module")
def analysed():
    """The net's artifacts up to its groups."""
    bench, model = Bench(), model_of(NET)
    run_passes([ImportModel(model), *analysing(Recipe(model=model, flops=0.5))], bench)
    return dict(bench.artifacts)


@pytest.fixture(scope="module")
def plan():
    return onnxprune.plan(model_of(NET), flops=0.6, pattern="both", block="2x4", align=1, block_sparse="never")


def _use(analysed, plan, **options):
    bench = Bench(dict(analysed))
    run_passes([UsePlan(plan, "plan.json", **options), PruneChannels(), CheckTiles("plan.json")], bench)
    return bench


def test_a_plan_that_fits_is_given_with_its_counts(analysed, plan):
    bench = _use(analysed, plan)
    assert bench.artifacts["plan"] == plan
    assert bench.artifacts["allocation"].kept == {name: len(kept) for name, kept in plan.kept.items()}
    assert bench.artifacts["allocation"].cost["flops"] == plan.costs["flops"].planned
    assert plan.tiling.layers


def test_axes_that_stay_may_be_named_as_whole(analysed, plan):
    frozen = next(axis for axis in analysed["analysis"].frozen if axis.name not in plan.sizes)
    named = replace(
        plan,
        sizes={**plan.sizes, frozen.name: frozen.size},
        kept={**plan.kept, frozen.name: tuple(range(frozen.size))},
    )
    assert _use(analysed, named).artifacts["plan"] == plan


def _groups(plan, **changed):
    """The plan with other groups: name → (size, kept); None takes one away."""
    found = {name: (size, plan.kept[name]) for name, size in plan.sizes.items()} | changed
    left = {name: group for name, group in found.items() if group is not None}
    return replace(plan, sizes={n: s for n, (s, _) in left.items()}, kept={n: k for n, (_, k) in left.items()})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"conv_9": (4, (0, 1))}, r"the model has no group 'conv_9'\. It has groups 'conv_0', 'conv_2'"),
        ({"conv_2": None}, "it says nothing of group 'conv_2'"),
        ({"conv_0": (9, (0, 8))}, "group 'conv_0' has 9 channels in it, and 8 in the model"),
        ({"matmul_6": (6, (0, 1))}, r"it takes channels of 'matmul_6', which stay .*output"),
    ],
    ids=["unknown", "missing", "size", "frozen"],
)
def test_groups_that_do_not_fit_are_named(analysed, plan, changed, message):
    with pytest.raises(InputError, match=rf"^plan\.json does not fit: {message}"):
        _use(analysed, _groups(plan, **changed))


def test_another_file_is_told_by_its_hash(analysed, plan):
    bench, other = Bench({"original": analysed["original"]}), replace(plan, model_sha256="abcdef" * 10)
    run_passes([MatchPlan(plan)], bench)
    with pytest.raises(InputError, match=r"SHA-256 is abcdefabcdef…, and that of the model given is [0-9a-f]{12}…"):
        run_passes([MatchPlan(other)], bench)
    assert bench.notes == []
    run_passes([MatchPlan(replace(plan, model_sha256=""), other_weights=True)], bench)
    assert "was made for another file (SHA-256 unknown)" in bench.notes[0]


def test_a_budget_that_the_plan_exceeds_is_told_with_what_is_left(analysed, plan):
    _use(analysed, plan, budgets=(Budget("flops", 0.6), Budget("params", 1.0)))
    with pytest.raises(BudgetError, match=r"does not meet the budget --flops: .* MACs are left by it, 11\d %"):
        _use(analysed, plan, budgets=(Budget("flops", 0.5),))


def _tiles(plan, place=0, **parts):
    """The plan with one of its layers changed."""
    layers = list(plan.tiling.layers)
    layers[place] = replace(layers[place], **parts)
    return replace(plan, tiling=Tiling(tuple(layers), plan.tiling.orders))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"node": "conv_9"}, "it cuts 'conv_9' into tiles, which cannot be: the model has no such layer"),
        ({"node": "relu_1"}, "it cuts 'relu_1' into tiles, which cannot be"),
        ({"weight": "zz"}, "with the weight 'zz', contracted over axis"),
        ({"operator": "MatMul"}, "for a MatMul with the weight"),
        ({"inputs": 64, "kept": ((0,),)}, r"its tiles of .* are of 64 inputs"),
        ({"block": 3}, r"blocks of 3 inputs and 4 outputs do not divide it"),
    ],
    ids=["node", "operator without tiles", "weight", "operator", "length", "block"],
)
def test_tiles_that_do_not_fit_are_named(analysed, plan, parts, message):
    with pytest.raises(InputError, match=rf"^plan\.json does not fit: .*{message}"):
        _use(analysed, _tiles(plan, **parts))


def test_orders_that_do_not_fit_are_named(analysed, plan):
    name, order = next(iter(plan.tiling.orders.items()))
    longer = replace(plan, tiling=Tiling(plan.tiling.layers, {name: (*order, len(order))}))
    with pytest.raises(InputError, match=rf"it puts {len(order) + 1} channels of '{name}' in order"):
        _use(analysed, longer)
    with pytest.raises(InputError, match="the model has no such group"):
        _use(analysed, replace(plan, tiling=Tiling(plan.tiling.layers, {"conv_9": (0, 1)})))
    whole = _groups(plan, conv_2=(16, tuple(range(1, 16))))
    mixed = {"conv_2": (1, 0, *range(2, 16))}
    with pytest.raises(InputError, match="the order of 'conv_2' puts channels that stay where others go"):
        _use(analysed, replace(whole, tiling=Tiling(plan.tiling.layers, mixed)))
