"""Registries find members, near names and clashes."""

from __future__ import annotations

import pytest

from onnxprune.core.errors import InternalError, UsageError
from onnxprune.core.registry import Registry
from onnxprune.criteria import CRITERIA
from onnxprune.ops import OPS, OpRule, find_rule, register_op


def test_members_are_found_by_package_without_being_imported_by_name():
    assert {"bn_scale", "magnitude", "random"} <= set(CRITERIA.names())
    assert "::Conv" in OPS.names()


def test_failed_look_up_lists_near_names():
    with pytest.raises(UsageError, match="Did you mean magnitude"):
        CRITERIA.get("magnitud")


def test_duplicate_is_an_error_that_names_both_files():
    registry: Registry[type] = Registry("thing", "onnxprune.core")
    registry.register("one")(OpRule)
    with pytest.raises(InternalError, match=r"thing 'one' is registered twice: in .*base\.py and in .*registry\.py"):
        registry.register("one")(Registry)


def test_operator_rules_are_chosen_by_version_range():
    old, new = find_rule("", "Softmax", 12), find_rule("ai.onnx", "Softmax", 13)
    assert old is not None
    assert new is not None
    assert type(old) is not type(new)
    assert find_rule("", "NoSuchOperator", 20) is None
    assert find_rule("com.example", "Conv", 1) is None


def test_overlapping_version_ranges_are_refused():
    class Again(type(find_rule("", "Relu", 20))):
        names = ("Relu",)

    with pytest.raises(InternalError, match="::Relu has two rules for one version"):
        register_op(Again)
