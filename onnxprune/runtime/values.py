"""Arrays in and out of onnxruntime, with the dtypes that numpy itself lacks."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper

from onnxprune.core.errors import DataError

__all__ = ["AnyArray", "check_feeds", "from_ort_value", "is_numpy_type", "to_ort_values"]

AnyArray = NDArray[Any]

_INTEGERS = frozenset(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
_NUMPY_TYPES = _INTEGERS | {"float16", "float", "double", "bool", "string"}
_ORT_NAMES = {"float32": "float", "float64": "double", "object": "string"}


def is_numpy_type(kind: str) -> bool:
    """Returns whether onnxruntime hands over values of type `kind` ("tensor(float)") as numpy arrays."""
    return not kind.startswith("tensor(") or kind[7:-1] in _NUMPY_TYPES


def check_feeds(session: ort.InferenceSession, feeds: Mapping[str, AnyArray]) -> None:
    """Checks names, dtypes and static dimensions of `feeds` against the session's inputs.

    Raises:
        DataError: for the first array that does not fit.
    """
    inputs = {i.name: i for i in session.get_inputs()}
    if set(inputs) != set(feeds):
        raise DataError(
            f"The model's inputs are {_listed(inputs)}; the data holds {_listed(feeds)}. Give one array for each input."
        )
    for name, array in feeds.items():
        shape = inputs[name].shape
        fits = len(shape) == array.ndim and all(
            not isinstance(want, int) or want == have for want, have in zip(shape, array.shape, strict=True)
        )
        # An empty shape is also how onnxruntime shows an input of unknown rank.
        if shape and not fits:
            raise DataError(f"Input {name!r} has shape {list(array.shape)}; the model expects {shape}.")
        want, have = inputs[name].type, f"tensor({_ORT_NAMES.get(array.dtype.name, array.dtype.name)})"
        if is_numpy_type(want) and want.startswith("tensor(") and want != have and array.dtype.kind not in "US":
            raise DataError(f"Input {name!r} is {have[7:-1]}; the model expects {want[7:-1]}. Convert the array.")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(n) for n in names) or "none"


def to_ort_values(feeds: Mapping[str, AnyArray]) -> dict[str, ort.OrtValue]:
    """Returns `feeds` as onnxruntime's own values; bfloat16 and float8 included, text not.

    Raises:
        DataError: when an array holds text.
    """
    values = {}
    for name, array in feeds.items():
        if array.dtype.kind in "OUS":
            raise DataError(f"Input {name!r} holds text; only numeric inputs can be analysed.")
        if array.dtype.isbuiltin == 1:
            values[name] = ort.OrtValue.ortvalue_from_numpy(array)
        else:
            bits = array.view(np.dtype(f"u{array.dtype.itemsize}"))
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            values[name] = ort.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, kind)
    return values


def from_ort_value(value: ort.OrtValue) -> AnyArray:
    """Returns a CPU tensor of onnxruntime as an array, bfloat16 and float8 in the dtypes of ml_dtypes."""
    if is_numpy_type(value.data_type()):
        return np.asarray(value.numpy())
    dtype = helper.tensor_dtype_to_np_dtype(value.element_type())
    shape = value.shape()
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    # OrtValue.numpy() knows no dtype beyond numpy's own, so the bytes are copied out here.
    raw = ctypes.string_at(value.data_ptr(), size) if size else b""
    return np.frombuffer(raw, dtype).reshape(shape)
