"""Plans and their JSON."""

from __future__ import annotations

import json

import pytest

from onnxprune.core.errors import InputError
from onnxprune.core.plan import Plan

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
