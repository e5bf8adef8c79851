"""Decisions as text."""

from __future__ import annotations

import pytest

from onnxprune.core.allocation import Allocation
from onnxprune.core.decision import Decision
from onnxprune.core.errors import InputError
from onnxprune.core.plan import Plan
from onnxprune.core.search import SearchPoint, SearchRecord

PLAN = Plan("abc", {"a": 3, "b": 2}, {"a": (0, 2), "b": (1,)}, {"seed": 0}, {"b": "LayerNormalization"})
SEARCH = SearchRecord((SearchPoint(1, 0.5, {"flops": 1.5}, 0.25, {"a": 0.5, "b": 1.0}),), 8, 1.5)
ALLOCATION = Allocation({"a": 2, "b": 1}, {"flops": 4.0}, {"flops": 5.0}, {"a": 1, "b": 1}, ("said",))


@pytest.mark.parametrize("search", [None, SEARCH])
def test_a_decision_comes_back(search):
    allocation = Allocation(
        ALLOCATION.kept, ALLOCATION.cost, ALLOCATION.limit, ALLOCATION.alignment, ALLOCATION.notes, search=search
    )
    decision = Decision(PLAN, allocation, ("first", "second"))
    assert Decision.from_json(decision.to_json()) == decision


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"onnxprune_decision": 2}', '{"onnxprune_decision": 1}'])
def test_what_is_no_decision_is_refused(text):
    with pytest.raises(InputError, match="without --resume"):
        Decision.from_json(text)
