"""Which execution providers onnxruntime has here, and which of them work.

A wheel lists the providers it was built with; whether their libraries and devices are there
shows only when a session starts. onnxruntime then falls back to the CPU without an error, so
a figure measured "on CUDA" could be a CPU figure: a provider counts as usable only when a
small session really runs on it.
"""

from __future__ import annotations

import contextlib
import functools
import io
import warnings
from collections.abc import Iterator

import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from onnxprune.core.errors import UsageError
from onnxprune.runtime.errors import ORT_ERRORS

__all__ = [
    "COREML",
    "CPU",
    "CUDA",
    "DML",
    "OPENVINO",
    "TENSORRT",
    "available_providers",
    "is_usable",
    "resolve_provider",
    "short_name",
]

COREML = "CoreMLExecutionProvider"
CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
DML = "DmlExecutionProvider"
OPENVINO = "OpenVINOExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
_SUFFIX = "ExecutionProvider"
_ALIASES = {"directml": "dml", "trt": "tensorrt"}
_SOURCES = {
    "coreml": "It is in the onnxruntime package for macOS.",
    "cuda": "It comes with the onnxruntime-gpu package.",
    "dml": "It comes with the onnxruntime-directml package for Windows, in place of onnxruntime.",
    "openvino": "It comes with the onnxruntime-openvino package, in place of onnxruntime.",
    "tensorrt": "It comes with the onnxruntime-gpu package, and needs TensorRT's libraries.",
}
_LOG_WARNINGS, _LOG_FATAL = 2, 4


def short_name(provider: str) -> str:
    """Returns the name used on the command line: "cuda" for "CUDAExecutionProvider"."""
    return provider.removesuffix(_SUFFIX).lower()


def available_providers() -> tuple[str, ...]:
    """Returns the providers this onnxruntime was built with, by their full names."""
    return tuple(ort.get_available_providers())


@functools.cache
def is_usable(provider: str) -> bool:
    """Returns whether a session really runs on `provider` (a full name) on this machine."""
    if provider not in available_providers():
        return False
    if provider == CPU:
        return True
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "probe", [value], [result])
    probe = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    with _silence():
        if provider in (CUDA, TENSORRT):
            # Finds the CUDA libraries that pip installs beside the wheel.
            ort.preload_dlls()
        return _starts_on(probe, provider)


def _starts_on(model: onnx.ModelProto, provider: str) -> bool:
    options = ort.SessionOptions()
    options.log_severity_level = _LOG_FATAL
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=[provider])
    except ORT_ERRORS:
        return False
    return bool(session.get_providers()[0] == provider)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    ort.set_default_logger_severity(_LOG_FATAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        ort.set_default_logger_severity(_LOG_WARNINGS)


def resolve_provider(name: str) -> str:
    """Returns the full name of the provider that `name` asks for.

    Args:
        name: "auto" (CUDA where it works, else the CPU), a short name such as "cpu", "cuda", "tensorrt",
            "openvino", "coreml" or "dml", or a full name such as "CUDAExecutionProvider".

    Raises:
        UsageError: when onnxruntime has no such provider, or cannot start it here.
    """
    available = available_providers()
    if name == "auto":
        return CUDA if is_usable(CUDA) else CPU
    wanted = _ALIASES.get(name.lower(), name.lower())
    found = next((p for p in available if wanted in (short_name(p), p.lower())), None)
    usable = [short_name(p) for p in available if is_usable(p)]
    if found is None:
        source = _SOURCES.get(wanted.removesuffix(_SUFFIX.lower()), "")
        raise UsageError(
            f"Execution provider {name!r} is not in this onnxruntime ({ort.__version__}). {source}".rstrip()
            + f" Available and working here: {', '.join(usable)}."
        )
    if not is_usable(found):
        raise UsageError(
            f"Execution provider {name!r} is built into onnxruntime {ort.__version__} but does not start here: "
            f"its device, driver or libraries are missing. Working here: {', '.join(usable)}."
        )
    return found
