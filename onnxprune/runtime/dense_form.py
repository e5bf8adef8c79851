"""Other dense forms of a model: what a slim model has to beat before a gain is a gain.

Where a device computes float16 faster than float32, the original as it is given is not the best that can be had
without pruning. Its float16 form comes from onnxruntime's own converter; inputs and outputs keep their types, and it
counts only where its outputs are those of the original but for rounding.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx

from onnxprune.core.errors import ModelError
from onnxprune.graph import Model
from onnxprune.runtime.compare import compare
from onnxprune.runtime.large import PROTOBUF_LIMIT, inline_bytes
from onnxprune.runtime.providers import CUDA, DML, TENSORRT, resolve_provider
from onnxprune.runtime.session import make_session, run
from onnxprune.runtime.values import AnyArray

__all__ = ["FLOAT16", "DenseChoice", "DenseForm", "float16_form"]

DenseChoice = Literal["auto", "all", "off"]
"""Where other dense forms are timed: on providers that gain by them, on all, or nowhere."""

FLOAT16 = "float16"
_GAIN = (CUDA, TENSORRT, DML)
_CONVERTER = "onnxruntime.transformers.float16"
_ALIKE = 0.99


@dataclass(frozen=True)
class DenseForm:
    """A dense form of the original, or the reason why there is none.

    Attributes:
        model: The model; None where there is none.
        reason: Why not, as a sentence; "" where it was not asked for, too.
    """

    model: onnx.ModelProto | None = None
    reason: str = ""


def float16_form(
    model: Model | Path,
    feeds: Mapping[str, AnyArray],
    *,
    choice: DenseChoice = "auto",
    provider: str = "cpu",
    threads: int | None = None,
) -> DenseForm:
    """Returns a model in float16, with inputs and outputs as they were.

    Args:
        model: The model.
        feeds: Input name → array, on which both must agree.
        choice: Where it is asked for.
        provider: As `resolve_provider` takes it.
        threads: As `make_session` takes it.

    Raises:
        UsageError: when the provider does not work here.
        ModelError: when the model itself cannot be run.
        DataError: when `feeds` does not fit the model.
    """
    if choice == "off" or (choice == "auto" and resolve_provider(provider) not in _GAIN):
        return DenseForm()
    try:
        converted = _converted(model)
    except ModelError as error:
        return DenseForm(reason=_sentence(str(error)))
    expected = run(make_session(model, provider=provider, threads=threads), feeds)
    try:
        found = run(make_session(converted, provider=provider, threads=threads), feeds)
    except ModelError as error:
        return DenseForm(reason=_sentence(str(error)))
    for difference in compare(_floats(expected), _floats(found)):
        if not (difference.cosine >= _ALIKE and math.isfinite(difference.max_rel)):
            said = f"its output {difference.name!r} is another in float16 (cosine {difference.cosine:.3f})"
            return DenseForm(reason=_sentence(said))
    return DenseForm(converted)


def _converted(model: Model | Path) -> onnx.ModelProto:
    """Returns the model with weights and inner values in float16.

    Raises:
        ModelError: when it holds nothing to convert, or cannot be converted.
    """
    proto = onnx.load(model) if isinstance(model, Path) else model.to_proto()
    if not any(tensor.data_type == onnx.TensorProto.FLOAT for tensor in proto.graph.initializer):
        raise ModelError("it holds no weights in float32")
    if inline_bytes(proto) > PROTOBUF_LIMIT:
        raise ModelError("its weights are too large for the converter, which holds them in one message of 2 GB")
    try:
        converted: onnx.ModelProto = _converter()(proto, keep_io_types=True)
    except Exception as error:  # the converter is not ours, and fails in ways of its own
        raise ModelError(f"onnxruntime's converter fails: {type(error).__name__}: {error}") from error
    return converted


def _converter() -> Any:
    """Returns onnxruntime's converter; importing its package adds a folder of scripts to the path, which goes again."""
    path = list(sys.path)
    try:
        return importlib.import_module(_CONVERTER).convert_float_to_float16
    finally:
        sys.path[:] = path


def _sentence(reason: str) -> str:
    return f"The original was not timed in float16: {reason.rstrip('.')}."


def _floats(outputs: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
    return {name: array for name, array in outputs.items() if np.issubdtype(array.dtype, np.floating)}
