"""onnxruntime's exceptions, and its messages as one readable paragraph."""

from __future__ import annotations

import re

from onnxruntime.capi import onnxruntime_pybind11_state as state

__all__ = ["ORT_ERRORS", "explain"]

# onnxruntime's exceptions derive from Exception one by one; its Python layer adds the last two.
ORT_ERRORS: tuple[type[Exception], ...] = (
    state.EPFail,
    state.EngineError,
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NoModel,
    state.NoSuchFile,
    state.NotFound,
    state.NotImplemented,
    state.RuntimeException,
    RuntimeError,
    ValueError,
)

_PREFIX = re.compile(r"\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
_PLACE = re.compile(r"/\S+\.(?:cc|h|hpp|cpp|cu|cuh):\d+ ")
_AFTER_SIGNATURE = re.compile(r"(?: \[with [^\]]*\])?(?: const)?(?: noexcept)? *")
_LONGEST = 500


def explain(error: Exception) -> str:
    """Returns what onnxruntime said, without its status codes, C++ signatures and line breaks."""
    text = " ".join(_PREFIX.sub("", str(error)).split())
    while (place := _PLACE.search(text)) is not None:
        text = text[: place.start()] + text[_signature_end(text, place.end()) :]
    text = text.strip().rstrip(".")
    return text if len(text) <= _LONGEST else text[: _LONGEST - 2] + " …"


def _signature_end(text: str, start: int) -> int:
    """Returns where the C++ signature that starts at `start` ends, or `start` where there is none."""
    depth = 0
    for position in range(max(start, text.find("(", start)), len(text)):
        depth += (text[position] == "(") - (text[position] == ")")
        # of operator()(...) the first pair of parentheses is the name
        if depth == 0 and text[position] == ")" and text[position + 1 : position + 2] != "(":
            found = _AFTER_SIGNATURE.match(text, position + 1)
            return found.end() if found is not None else position + 1
    return start
