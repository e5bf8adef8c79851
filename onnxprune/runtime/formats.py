"""ONNX files younger than the installed onnxruntime: how far they still run."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from onnxprune.core.errors import ModelError
from onnxprune.runtime.errors import ORT_ERRORS

__all__ = ["declared_ir", "leading_ir", "newest_ir", "newest_opsets_allowed", "quiet_options", "readable"]

_log = logging.getLogger(__name__)
_FATAL_ONLY = 4
_OLDEST_IR = 3
_OPSET_SWITCH = "ALLOW_RELEASED_ONNX_OPSET_ONLY"


def quiet_options() -> ort.SessionOptions:
    """Returns session options that log nothing: errors come back as exceptions anyway."""
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    return options


@functools.cache
def newest_ir() -> int:
    """Returns the newest IR version that this onnxruntime loads."""
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "probe", [value], [result])
    for version in range(onnx.IR_VERSION, _OLDEST_IR, -1):
        probe = helper.make_model(graph, ir_version=version, opset_imports=[helper.make_opsetid("", 13)])
        with contextlib.suppress(*ORT_ERRORS):
            ort.InferenceSession(probe.SerializeToString(), quiet_options(), providers=["CPUExecutionProvider"])
            return version
    return _OLDEST_IR


def declared_ir(path: Path) -> int:
    """Returns the IR version in the first bytes of a file, where every writer puts it, else 0.

    Raises:
        ModelError: when the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return leading_ir(file.read(2))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}.") from error


def leading_ir(head: bytes) -> int:
    """Returns the IR version in the first two bytes of a serialized model, else 0."""
    return head[1] if len(head) == 2 and head[0] == 0x08 and head[1] < 0x80 else 0


def readable(content: bytes, ir_version: int) -> bytes:
    """Returns serialized model `content` with an IR version that onnxruntime accepts.

    The version gates nothing but new tensor types, which onnxruntime refuses on its own.
    Field 1 is appended once more: of a repeated scalar field protobuf keeps the last value.
    """
    newest = newest_ir()
    if ir_version <= newest:
        return content
    _log.debug("IR version %d is younger than onnxruntime %s; run as version %d.", ir_version, ort.__version__, newest)
    return content + bytes([0x08, newest])


@contextlib.contextmanager
def newest_opsets_allowed() -> Iterator[None]:
    """Lets onnxruntime load opsets younger than its last release, unless the user decided otherwise.

    Operators that did not change in them run; those that did are refused one by one.
    """
    if _OPSET_SWITCH in os.environ:
        yield
        return
    os.environ[_OPSET_SWITCH] = "0"
    try:
        yield
    finally:
        os.environ.pop(_OPSET_SWITCH, None)
