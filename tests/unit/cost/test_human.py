from __future__ import annotations

import pytest

from onnxprune.cost.human import human_cost, human_number, percent


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (12, "12"),
        (0.25, "0.25"),
        (999, "999"),
        (1000, "1.00 k"),
        (274_000, "274 k"),
        (999_600, "1.00 M"),
        (9_996_000, "10.0 M"),
        (40_800_000, "40.8 M"),
        (1.594e6, "1.59 M"),
        (4.089e9, "4.09 G"),
        (2e15, "2000 T"),
    ],
)
def test_numbers_have_three_digits_and_a_prefix(value, text):
    assert human_number(value) == text


@pytest.mark.parametrize(
    ("resource", "value", "text"),
    [
        ("flops", 40.8e6, "40.8 M MACs"),
        ("params", 274e3, "274 k parameters"),
        ("size", 1.1e6, "1.10 MB"),
        ("size", 12, "12 B"),
        ("memory", 2048, "2.05 kB"),
        ("latency", 3200, "3.20 ms"),
        ("latency", 47.3, "47.3 us"),
        ("latency", 2.5e6, "2.50 s"),
        ("energy", 5e3, "5.00 k energy"),
    ],
)
def test_costs_carry_the_unit_of_their_resource(resource, value, text):
    assert human_cost(resource, value) == text


def test_percent_has_three_digits():
    assert [percent(s) for s in (1.0, 0.3956, 0.0041234, 0.98)] == ["100 %", "39.6 %", "0.412 %", "98 %"]
