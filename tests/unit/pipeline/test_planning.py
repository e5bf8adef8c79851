"""Deciding alone, and carrying a plan out: the same bytes as at once, what is refused, what the report says."""

from __future__ import annotations

import json
from dataclasses import replace

import onnx
import pytest
from bridging import convnet, labelled

import onnxprune
from onnxprune import pipeline
from onnxprune.core.errors import BudgetError, InputError, UsageError
from onnxprune.core.events import PassFinished, TrainProgress
from onnxprune.core.plan import Plan, read_plan
from onnxprune.passes import plan_tiles
from onnxprune.report.schema import read_report
from onnxprune.tiles import SearchOptions

TRAINED = {"data": labelled(96), "epochs": 1, "batch_size": 32}
TILES = {"flops": 0.6, "pattern": "tiles", "block": "2x4", "align": 1}


@pytest.fixture
def quick_orders(monkeypatch):
    """Ends the search for orders early."""
    once = SearchOptions(starts=("sorted",), kicks=0, rounds=4)
    monkeypatch.setattr(plan_tiles, "_QUICK", once)
    monkeypatch.setattr(plan_tiles, "_effort", lambda layers: once)


def _halved(model, **options):
    return onnxprune.plan(model, **({"flops": 0.5, "out": model.with_name("plan.json")} | options))


def _apply(model, plan=None, **options):
    """Carries out a plan, by default the file beside the model."""
    given = {"out": model.with_name("slim.onnx")} | options
    return onnxprune.apply(model, model.with_name("plan.json") if plan is None else plan, **given)


def _both(model, deciding, after):
    """The bytes of doing all at once, and of deciding and carrying out apart."""
    onnxprune.compress(model, **deciding, **after, out=model.with_name("slim.onnx"))
    at_once = model.with_name("slim.onnx").read_bytes()
    # a form that is not asked for is timed, and no two runs measure the same
    _halved(model, **deciding, **{name: after[name] for name in after if name == "block_sparse"})
    kept = {name: value for name, value in deciding.items() if name in ("data", "epochs", "batch_size", "seed")}
    _apply(model, **kept, **after)
    return at_once, model.with_name("slim.onnx").read_bytes()


@pytest.mark.parametrize(
    "deciding",
    [
        {"flops": 0.5},
        {"flops": 0.5, "params": 0.7, "criterion": "magnitude_l1", "allocator": "greedy", "align": 1, "seed": 3},
        {"flops": None, "size": "1.5kB", "memory": 0.9, "allocator": "uniform"},
    ],
    ids=["flops", "criterion and allocator", "figures with units"],
)
def test_deciding_and_carrying_out_give_the_bytes_of_doing_both_at_once(model, deciding):
    at_once, apart = _both(model, deciding, {})
    assert apart == at_once


@pytest.mark.parametrize("pattern", ["tiles", "both"])
@pytest.mark.usefixtures("quick_orders")
def test_a_plan_with_tiles_gives_the_bytes_of_doing_both_at_once(model, pattern):
    at_once, apart = _both(model, TILES | {"pattern": pattern}, {"block_sparse": "never"})
    assert apart == at_once
    assert read_plan(model.with_name("plan.json")).tiling.layers


def test_a_plan_of_single_zeros_gives_the_bytes_of_doing_both_at_once(model):
    at_once, apart = _both(model, {"pattern": "tiles", "block": "2:4", "flops": None}, {})
    assert apart == at_once


@pytest.mark.slow
def test_a_plan_that_was_learned_and_is_trained_gives_the_bytes_of_doing_both_at_once(model):
    at_once, apart = _both(model, {"flops": 0.5, "align": 1} | TRAINED, {"eval_data": labelled(32), "recover": False})
    assert apart == at_once
    assert read_plan(model.with_name("plan.json")).options["epochs"] == 1


def test_planning_writes_its_plan_and_nothing_else(model):
    found = _halved(model)
    assert sorted(path.name for path in model.parent.iterdir()) == ["net.onnx", "plan.json"]
    assert read_plan(model.with_name("plan.json")) == found
    assert found.as_decided
    assert found.model_sha256 == pipeline.show(model).sha256
    assert found.tool_version == onnxprune.__version__
    assert [(b.resource, b.value, b.relative) for b in found.budgets] == [("flops", 0.5, True)]
    assert found.options["criterion"] == "auto"


@pytest.mark.parametrize(
    "options", [{"approximate": True}, {"flops": None, "memory": 0.7}, TILES | {"block_sparse": "body"}], ids=str
)
@pytest.mark.usefixtures("quick_orders")
def test_planned_costs_are_those_of_the_model_that_comes_out(model, options):
    after = {name: options[name] for name in ("block_sparse",) if name in options}
    plan = _halved(model, **options)
    report = _apply(model, **after).report
    assert plan.costs["flops"].original == report["before"]["macs"]
    assert plan.costs["flops"].planned == pytest.approx(report["after"]["macs"])
    assert plan.costs["params"].planned == pytest.approx(report["after"]["params"], rel=1e-9)
    for record in report["budgets"]:
        assert plan.costs[record["resource"]].planned == pytest.approx(record["reached"])
        assert record["met"]


def test_a_plan_in_memory_is_carried_out_on_a_model_in_memory():
    proto = convnet()
    plan = onnxprune.plan(proto, flops=0.5)
    result = onnxprune.apply(proto, plan)
    assert result.plan.kept == plan.kept
    assert result.report["plan"]["file"] == ""
    assert onnxprune.apply(proto, onnxprune.compress(proto, flops=0.5).plan).model == result.model


def test_exactly_what_a_changed_plan_says_goes(model):
    plan = _halved(model)
    name = next(iter(plan.kept))
    kept = {**plan.kept, name: (0, plan.sizes[name] - 1)}
    model.with_name("plan.json").write_text(replace(plan, kept=kept).to_json())
    result = _apply(model)
    assert result.plan.kept[name] == (0, plan.sizes[name] - 1)
    assert {group["name"]: group["kept"] for group in result.report["groups"]}[name] == 2
    assert result.report["plan"]["as_decided"] is False
    # what was asked of another plan was not asked of this one
    assert result.report["budgets"] == []
    assert "changed by hand since" in model.with_name("slim.report.md").read_text()


def test_a_model_is_known_by_its_plan_where_options_alone_do_not_lead_to_it(model):
    def recipe_of(name, plan, **options):
        return pipeline.show(_apply(model, plan, out=model.with_name(name), **options).path).provenance

    plan = _halved(model)
    decided = recipe_of("a.onnx", plan)
    assert decided.budgets == "flops 0.5"
    name = next(iter(plan.kept))
    changed = recipe_of("b.onnx", replace(plan, kept={**plan.kept, name: (0,)}))
    other_seed = recipe_of("c.onnx", replace(plan, options={**plan.options, "seed": 5}).signed())
    assert len({decided.recipe, changed.recipe, other_seed.recipe}) == 3
    assert other_seed.budgets == "flops 0.5"
    assert changed.budgets == ""


def test_the_report_tells_of_the_plan_and_of_no_search(model):
    _halved(model, **TRAINED, align=1)
    result = _apply(model, gates="macs_ratio<=0.5")
    report = read_report(model.with_name("slim.report.json"))
    assert report.plan is not None
    assert (report.plan.file, report.plan.as_decided) == (str(model.with_name("plan.json")), True)
    assert report.command.split()[:4] == ["onnxprune", "apply", str(model), str(model.with_name("plan.json"))]
    assert report.search is None
    assert report.options["allocator"] == "auto"
    assert "what the plan drops was removed and nothing was retrained" in report.no_training
    assert not {"score_channels", "allocate_budget", "open_search"} & {record.name for record in report.passes}
    assert "use_plan" in {record.name for record in report.passes}
    page = model.with_name("slim.report.html").read_text()
    assert "nothing was scored or allocated" in page
    assert 'id="search"' not in page
    assert result.report["budgets"][0]["met"]


def test_a_command_that_carries_out_a_plan_can_be_repeated(model):
    _halved(model, criterion="magnitude_l1", align=1)
    first = _apply(model, criterion_reduce=None, seed=2).report["command"].split()
    assert first[4:] == ["--seed", "2", "--out", str(model.with_name("slim.onnx"))]


def test_compress_takes_a_plan_too(model):
    _halved(model)
    _apply(model)
    expected = model.with_name("slim.onnx").read_bytes()
    onnxprune.compress(model, plan=model.with_name("plan.json"), out=model.with_name("other.onnx"))
    assert model.with_name("other.onnx").read_bytes() == expected


def test_budgets_beside_a_plan_are_held_against_it(model):
    plan = _halved(model)
    assert _apply(model, flops=0.6).report["budgets"][0]["limit"] == pytest.approx(0.6 * plan.costs["flops"].original)
    with pytest.raises(BudgetError, match=r"plan\.json does not meet the budget --flops: .* MACs are left by it"):
        _apply(model, flops=0.4, out=model.with_name("none.onnx"))
    assert not model.with_name("none.onnx").exists()
    failed = read_report(model.with_name("none.report.json"))
    assert failed.failure is not None
    assert failed.failure.exit_code == 5
    assert failed.plan is not None


@pytest.mark.usefixtures("quick_orders")
def test_budgets_beside_a_plan_count_its_tiles(model):
    _halved(model, **TILES, block_sparse="never")
    _apply(model, flops=0.6, block_sparse="never")
    with pytest.raises(BudgetError, match="--flops"):
        _apply(model, flops=0.3, block_sparse="never")


def test_a_plan_for_another_file_is_refused_unless_that_is_meant(model):
    plan = _halved(model)
    onnx.save(convnet(seed=5), model)
    with pytest.raises(InputError, match=r"made for a model whose SHA-256 is .* add --other-weights"):
        _apply(model)
    result = _apply(model, other_weights=True)
    assert result.plan.kept == plan.kept
    assert any("was made for another file" in note for note in result.report["notes"])
    assert "for another file with the same groups" in model.with_name("slim.report.md").read_text()
    assert result.report["certificate"]["passed"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"criterion": "taylor"}, r"--criterion taylor: .*plan\.json was made with auto"),
        ({"approximate": True}, r"--approximate: .*plan\.json was made without it"),
        ({"permute": False}, r"--no-permute: .*plan\.json was made without it"),
        ({"latency": 0.5}, "--latency is measured"),
        ({"phases": 2} | TRAINED | {"epochs": 2}, "--phases 2 does not go with a plan"),
        ({"search_carry": True} | TRAINED, "--search-carry does not go with a plan"),
        ({"flops": "0.5,0.3"}, "A plan is one point"),
    ],
    ids=["criterion", "approximate", "permute", "latency", "phases", "carry", "curve"],
)
def test_options_that_contradict_a_plan_are_refused(model, options, message):
    _halved(model)
    with pytest.raises(UsageError, match=message):
        onnxprune.compress(model, plan=model.with_name("plan.json"), out=model.with_name("slim.onnx"), **options)


def test_options_that_a_plan_was_made_with_may_be_given_again(model):
    _halved(model, criterion="magnitude_l1")
    plan = model.with_name("plan.json")
    onnxprune.compress(model, plan=plan, criterion="magnitude_l1", flops=0.5, out=model.with_name("slim.onnx"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"plan": "plan.json"}, "none is carried out"),
        ({"phases": 2} | TRAINED, "--phases 2 decides on weights that are trained meanwhile"),
        ({"from_scratch": True} | TRAINED, "--from-scratch goes on from weights"),
        ({"flops": (0.5, 0.3)}, "one value of each budget"),
        ({"flops": None}, "There is no budget"),
    ],
    ids=["plan", "phases", "scratch", "curve", "no budget"],
)
def test_plans_that_cannot_be_made_are_refused(model, options, message):
    with pytest.raises(UsageError, match=message):
        _halved(model, **options)


def test_a_recipe_for_compress_serves_planning_and_carrying_out(model):
    recipe = model.with_name("recipe.toml")
    recipe.write_text(
        'model = "net.onnx"\nflops = 0.5\ncriterion = "magnitude_l1"\nout = "slim.onnx"\ngates = ["macs_ratio<=0.5"]\n'
    )
    onnxprune.compress(recipe=recipe)
    expected = model.with_name("slim.onnx").read_bytes()
    plan = onnxprune.plan(recipe=recipe, out=model.with_name("plan.json"))
    assert model.with_name("slim.onnx").read_bytes() == expected
    onnxprune.apply(model, plan, recipe=recipe)
    assert model.with_name("slim.onnx").read_bytes() == expected


def test_the_plan_of_a_run_folder_is_one_like_any_other(model):
    folder = model.with_name("run")
    onnxprune.compress(model, flops=0.5, out=model.with_name("slim.onnx"), run_dir=folder)
    expected = model.with_name("slim.onnx").read_bytes()
    plan = read_plan(folder / "plan.json")
    assert plan.as_decided
    assert _halved(model).to_json() == plan.to_json()
    _apply(model, folder / "plan.json")
    assert model.with_name("slim.onnx").read_bytes() == expected


def test_the_plan_that_several_phases_ended_with_is_cut_at_once(model):
    folder, given = model.with_name("run"), TRAINED | {"epochs": 2, "phases": 2, "allocator": "global", "flops": 0.5}
    phased = onnxprune.compress(model, **given, out=model.with_name("slim.onnx"), run_dir=folder)
    result = _apply(model, folder / "plan.json", out=model.with_name("again.onnx"))
    assert result.plan.kept == phased.plan.kept
    assert result.report["after"]["macs"] == phased.report["after"]["macs"]
    found, before = (pipeline.show(path).provenance for path in (result.path, phased.path))
    assert found.recipe != before.recipe


def test_a_stopped_run_goes_on_with_its_plan_and_no_other(model):
    plan, after = _halved(model), TRAINED | {"checkpoint_seconds": 0.0}
    _apply(model, **after)
    expected = model.with_name("slim.onnx").read_bytes()

    def stop(event):
        if isinstance(event, TrainProgress) and event.step == 2:
            raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, onnxprune.OnnxPruneError)):
        _apply(model, **after, on_event=stop)
    model.with_name("other.json").write_text(replace(plan, kept=dict.fromkeys(plan.kept, (0,))).to_json())
    with pytest.raises(InputError, match="had other options"):
        _apply(model, model.with_name("other.json"), **after, resume=True)
    seen = []
    _apply(model, **after, resume=True, on_event=seen.append)
    assert model.with_name("slim.onnx").read_bytes() == expected
    assert "use_plan" in {event.name for event in seen if isinstance(event, PassFinished)}


def test_a_plan_with_options_of_no_recipe_says_where(model):
    plan = _halved(model)
    content = json.loads(plan.to_json())
    content["options"]["pattern"] = "stripes"
    model.with_name("plan.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"plan\.json, options: --pattern stripes"):
        _apply(model)


def test_a_plan_written_by_hand_needs_groups_alone(model):
    plan = _halved(model)
    text = Plan(plan.model_sha256, plan.sizes, plan.kept).to_json()
    bare = {name: value for name, value in json.loads(text).items() if name not in ("budgets", "costs", "tool_version")}
    model.with_name("plan.json").write_text(json.dumps(bare))
    result = _apply(model)
    assert result.plan.kept == plan.kept
    assert "written by hand" in model.with_name("slim.report.md").read_text()
