"""Budgets from text."""

from __future__ import annotations

import pytest

from onnxprune.core.budget import Budget
from onnxprune.core.errors import UsageError


@pytest.mark.parametrize(
    ("resource", "text", "value", "relative"),
    [
        ("flops", "0.4", 0.4, True),
        ("flops", 0.4, 0.4, True),
        ("flops", "40%", 0.4, True),
        ("flops", "1", 1.0, True),
        ("flops", "20M", 20e6, False),
        ("flops", "1.5 G", 1.5e9, False),
        ("params", "800k", 800e3, False),
        ("size", "1.5MB", 1.5e6, False),
        ("size", "2MiB", 2 * 2**20, False),
        ("latency", "4ms", 4000.0, False),
        ("latency", "0.6", 0.6, True),
    ],
)
def test_parse_gives_the_bound(resource, text, value, relative):
    budget = Budget.parse(resource, text)
    assert budget.value == pytest.approx(value)
    assert budget.relative is relative


@pytest.mark.parametrize(
    ("resource", "text", "words"),
    [
        ("flops", "0", "greater than zero"),
        ("flops", "0%", "greater than zero"),
        ("flops", "1.7", "more than the original"),
        ("flops", "170%", "more than the original"),
        ("flops", "4ms", "not known here"),
        ("size", "3M", "not known here"),
        ("flops", "half", "not a budget"),
        ("flops", "-0.5", "not a budget"),
        ("flops", "inf", "not a budget"),
        ("speed", "0.5", "Unknown resource"),
    ],
)
def test_parse_refuses_what_makes_no_sense(resource, text, words):
    with pytest.raises(UsageError, match=words) as caught:
        Budget.parse(resource, text)
    assert caught.value.exit_code == 2


def test_limit_is_in_absolute_units():
    assert Budget.parse("flops", "40%").limit(200.0) == pytest.approx(80.0)
    assert Budget.parse("flops", "20M").limit(200.0) == 20e6
