"""Plans and their JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from onnxprune.core.budget import Budget
from onnxprune.core.errors import InputError
from onnxprune.core.plan import Plan, PlannedCost, read_plan

PLAN = Plan("ab12", {"conv": 6, "fc": 3}, {"conv": (0, 2, 5), "fc": (0, 1, 2)}, {"criterion": "magnitude"})


def test_round_trip_keeps_everything():
    assert Plan.from_json(PLAN.to_json()) == PLAN
    assert Plan.from_json(PLAN.to_json()).to_json() == PLAN.to_json()


def test_mask_marks_what_is_kept():
    assert PLAN.mask("conv").tolist() == [True, False, True, False, False, True]
    assert PLAN.mask("fc").all()


@pytest.mark.parametrize("kept", [[], [2, 1], [1, 1], [-1, 2], [0, 6]])
def test_from_json_refuses_indices_that_do_not_fit(kept):
    content = json.loads(PLAN.to_json())
    content["groups"][0]["kept"] = kept
    with pytest.raises(InputError, match=r"conv.*0\.\.5"):
        Plan.from_json(json.dumps(content))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"onnxprune_plan": 1}', "nonsense"])
def test_from_json_refuses_other_files(text):
    with pytest.raises(InputError, match="Not an onnxprune plan"):
        Plan.from_json(text)


def test_from_json_refuses_another_version():
    text = PLAN.to_json().replace('"onnxprune_plan": 1', '"onnxprune_plan": 99')
    with pytest.raises(InputError, match="version 99"):
        Plan.from_json(text)


FULL = replace(
    PLAN,
    tool_version="1.2",
    budgets=(Budget("flops", 0.4), Budget("size", 800e3, relative=False)),
    costs={"flops": PlannedCost(100.0, 39.5)},
    approximate={"fc": "LayerNormalization 'n' takes its mean over it"},
).signed()


def test_round_trip_keeps_what_led_to_a_plan():
    found = Plan.from_json(FULL.to_json())
    assert found == FULL
    assert found.as_decided


@pytest.mark.parametrize(
    "change",
    [{"kept": {"conv": (0, 2), "fc": (0, 1, 2)}}, {"options": {"criterion": "taylor"}}, {"model_sha256": "cd34"}],
    ids=["kept", "options", "model"],
)
def test_a_plan_that_was_changed_is_not_as_decided_even_when_it_is_written_again(change):
    changed = replace(FULL, **change)
    assert not changed.as_decided
    assert not Plan.from_json(changed.to_json()).as_decided
    assert changed.signed().as_decided
    assert not PLAN.as_decided


def test_kept_indices_stand_on_one_line_and_texts_stay_as_they_are():
    text = replace(PLAN, options={"loss": "[ 1, 2 ]"}).to_json()
    assert '"kept": [0, 2, 5]' in text
    assert Plan.from_json(text).options == {"loss": "[ 1, 2 ]"}


def test_a_plan_by_hand_needs_no_more_than_groups():
    content = json.loads(PLAN.to_json())
    bare = {name: content[name] for name in ("onnxprune_plan", "model_sha256", "options", "groups")}
    assert Plan.from_json(json.dumps(bare)) == PLAN


def _broken(**parts):
    return json.dumps(json.loads(FULL.to_json()) | parts)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_broken(groups=None), "'groups' is no list"),
        (_broken(groups=[{"size": 3, "kept": [0]}]), "'name' is missing"),
        (_broken(groups=[{"name": "conv", "size": 3}]), "'kept' is missing"),
        (_broken(groups=[{"name": "conv", "size": 3, "kept": [0, 1.5]}]), "1.5 is no whole number"),
        (_broken(groups=[{"name": "conv", "size": 3, "kept": [False, True]}]), "False is no whole number"),
        (_broken(groups=[{"name": "conv", "size": "3", "kept": [0]}]), "'3' is no whole number"),
        (_broken(groups=[{"name": "conv", "size": 3, "kept": 0}]), "not iterable"),
        (_broken(groups=[{"name": "conv", "size": 3, "kept": [0]}] * 2), "'conv': it is there twice"),
        (_broken(model_sha256=None), "None is no text"),
        (_broken(options=[1]), "Not an onnxprune plan"),
        (_broken(budgets=[{"resource": "joy", "value": 0.5, "relative": True}]), "is no budget"),
        (_broken(costs={"flops": {"original": 3}}), "'planned' is missing"),
        (_broken(tiles={"orders": {}, "layers": [{"kept": [[0.5]]}]}), "0.5 is no whole number"),
        ("[" * 100_000, "it is no JSON"),
        ('{"onnxprune_plan": 1,', "it is no JSON"),
        ('{"onnxprune_plan": 2}', "The plan has version 2; this onnxprune reads version 1"),
    ],
)
def test_what_is_wrong_with_a_plan_is_said(text, message):
    with pytest.raises(InputError) as error:
        Plan.from_json(text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"), [(None, "cannot be read"), (b"\xff\xfe", "no text"), (b"{}", "'onnxprune_plan' is missing")]
)
def test_a_file_that_is_no_plan_is_named(tmp_path, content, message):
    path = tmp_path / "plan.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"plan\.json: .*{message}"):
        read_plan(path)
