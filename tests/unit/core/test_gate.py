"""Gates: what they accept and when they hold."""

from __future__ import annotations

import pytest

from onnxprune.core.errors import UsageError
from onnxprune.core.gate import METRICS, Gate


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ("speedup>=1.2", 1.2, True),
        ("speedup >= 1.2", 1.19, False),
        ("top1_drop<=0.5", -0.3, True),
        ("p95_ms<8", 8.0, False),
        ("agreement>99", 99.5, True),
    ],
)
def test_a_gate_holds_when_its_relation_does(text: str, value: float, holds: bool) -> None:
    gate = Gate.parse(text)
    assert gate.holds(value) is holds
    assert str(gate) == text.replace(" ", "")


def test_what_was_not_measured_does_not_pass() -> None:
    assert not Gate.parse("speedup>=0").holds(None)
    assert not Gate.parse("top1_drop<=100").holds(None)


@pytest.mark.parametrize("text", ["speedup", "speedup=1", "speedup>=fast", "speedup>=nan", ">=1", "speedup>=1 <=2"])
def test_what_is_no_gate_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected a metric"):
        Gate.parse(text)


def test_an_unknown_metric_is_refused_with_those_known() -> None:
    with pytest.raises(UsageError) as error:
        Gate.parse("speed>=1")
    assert all(metric in str(error.value) for metric in METRICS)
