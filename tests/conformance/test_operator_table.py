"""The standard's node tests through the PyTorch counterparts, and the table of them in docs/operators.md."""

from __future__ import annotations

import subprocess
import sys

import onnx
import pytest
from standard_suite import EXCEPTIONS, SuiteCase, failure, suite

from onnxprune.ops import OPS
from onnxprune.ops.registry import TWINS

SIXTEEN_BITS = {"float16", "bfloat16", "uint16", "uint32", "uint64"}


def _judged() -> list[SuiteCase]:
    return [entry for entry in suite() if not entry.unusual and not entry.missing]


@pytest.mark.parametrize("operator", TWINS.names())
def test_counterpart_without_axis_rule_gives_the_standards_outputs(operator):
    entries = [entry for entry in _judged() if entry.operator == operator and "_expanded" not in entry.name]
    assert entries
    assert {entry.name: failure(entry) for entry in entries if failure(entry)} == {}


@pytest.mark.parametrize("operator", sorted({e.operator for e in _judged() if e.types & SIXTEEN_BITS} - {"::Constant"}))
def test_counterpart_gives_the_standards_outputs_in_other_element_types(operator):
    entries = [entry for entry in _judged() if entry.operator == operator and entry.types & SIXTEEN_BITS]
    assert {entry.name: failure(entry) for entry in entries if failure(entry)} == {}


def test_no_operator_has_both_an_axis_rule_and_a_counterpart_of_its_own():
    assert set(OPS.names()) & set(TWINS.names()) == set()


def test_exceptions_are_cases_that_fail():
    by_name = {entry.name: entry for entry in _judged()}
    assert [name for name in EXCEPTIONS if not failure(by_name[name])] == []


@pytest.mark.slow
def test_every_case_passes_or_is_excepted_and_the_document_says_so(repository):
    script, page = repository / "tests" / "bench" / "operator_table.py", repository / "docs" / "operators.md"
    if f"onnx {onnx.__version__} generates" not in page.read_text(encoding="utf-8"):
        pytest.skip(f"docs/operators.md was written with another onnx than {onnx.__version__}")
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
