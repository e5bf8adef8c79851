"""Gates on what the outputs of a model are off by."""

from __future__ import annotations

import math

import pytest

from onnxprune.core.gate import Gate
from onnxprune.report.gates import failures, found_text, gate_records, margin
from onnxprune.report.junit import junit_text
from onnxprune.report.schema import ModelRecord, OutputRecord, Parity, Report

OUTPUTS = (
    OutputRecord(name="boxes", max_abs=3.0, max_rel=0.01, cosine=0.99),
    OutputRecord(name="scores", max_abs=0.5, max_rel=0.2, cosine=0.999),
)


def judged(*gates: str, outputs: tuple[OutputRecord, ...] = OUTPUTS) -> Report:
    report = Report(command="validate", model=ModelRecord(), parity=Parity(outputs=outputs))
    return report.model_copy(update={"gates": gate_records(map(Gate.parse, gates), report)})


@pytest.mark.parametrize(
    ("gate", "found", "where"),
    [("max_abs<=1", 3.0, "boxes"), ("max_rel<=0.1", 0.2, "scores"), ("cosine>=0.995", 0.99, "boxes")],
)
def test_the_output_that_is_furthest_off_decides_and_is_named(gate, found, where):
    (record,) = judged(gate).gates
    assert (record.found, record.where, record.passed) == (found, where, False)
    assert f"at output '{where}'" in failures(judged(gate))


def test_gates_that_hold_pass():
    assert failures(judged("max_abs<=3", "max_rel<=0.2", "cosine>=0.99")) == ""


def test_an_infinite_difference_is_no_missing_one():
    report = judged("max_rel<=1", outputs=(*OUTPUTS, OutputRecord(name="y", max_abs=math.inf, max_rel=math.inf)))
    (record,) = report.gates
    assert not record.passed
    assert found_text(record) == "infinite at output 'y'"
    assert margin(record) is None
    assert "not measured" not in failures(report)
    assert 'failures="1" errors="0"' in junit_text(report)


def test_without_outputs_they_are_not_measured():
    (record,) = judged("max_rel<=1", outputs=()).gates
    assert (record.passed, found_text(record)) == (False, "not measured")


def test_by_how_much_a_gate_was_missed_is_said():
    report = judged("max_rel<=0.15")
    assert failures(report) == "1 of 1 gates not met: max_rel<=0.15 (found 0.2 at output 'scores', off by 0.05)."
    assert margin(report.gates[0]) == pytest.approx(0.05)
