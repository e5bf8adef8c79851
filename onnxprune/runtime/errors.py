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
_SOURCE = re.compile(r"/\S+\.(?:cc|h|cpp|cu):\d+ .*?\)(?: \[with [^\]]*\])?(?: const)? (?=[A-Z\"'])")
_LONGEST = 500


def explain(error: Exception) -> str:
    """Returns what onnxruntime said, without its status codes, C++ signatures and line breaks."""
    text = " ".join(_PREFIX.sub("", str(error)).split())
    text = _SOURCE.sub("", text).strip().rstrip(".")
    return text if len(text) <= _LONGEST else text[: _LONGEST - 2] + " …"
