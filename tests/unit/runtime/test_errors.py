"""onnxruntime's messages become sentences."""

from __future__ import annotations

import pytest

from onnxprune.runtime.errors import explain

PLACE = "/onnxruntime_src/onnxruntime/core/framework/session_state.cc:266"
CASES = [
    (
        "[ONNXRuntimeError] : 1 : FAIL : Exception during initialization: "
        f"{PLACE} onnxruntime::common::Status onnxruntime::Save(const std::vector<int>&, const Fn<void(int)>&) "
        "index > -1 was false. Indexes should have been populated.\n",
        "Exception during initialization: index > -1 was false. Indexes should have been populated",
    ),
    (
        f"[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code: {PLACE} bool onnxruntime::Fits() const "
        "the shapes [1,2] and [3] do not fit",
        "Non-zero status code: the shapes [1,2] and [3] do not fit",
    ),
    (f"{PLACE} auto f::operator()(T) [with T = int] x was false", "x was false"),
    ("[ONNXRuntimeError] : 3 : NO_SUCHFILE : Load model failed: no file", "Load model failed: no file"),
    ("It failed in (a) and\n(b).", "It failed in (a) and (b)"),
]


@pytest.mark.parametrize(("said", "expected"), CASES)
def test_signatures_and_codes_are_left_out(said: str, expected: str) -> None:
    assert explain(RuntimeError(said)) == expected


def test_a_place_without_a_signature_is_left_out() -> None:
    assert explain(RuntimeError(f"{PLACE} no memory")) == "no memory"


def test_a_long_message_is_cut() -> None:
    assert len(explain(RuntimeError("word " * 500))) <= 500
