"""What every tensor of a graph is in one concrete run: its shape, its dtype, and small values.

Shapes come from running the model, not from inference, so that Shape/Gather/Reshape chains,
old exporters' leftovers and operators without an inference rule need no special care.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from onnxprune.core.errors import ModelError
from onnxprune.runtime.errors import ORT_ERRORS, explain
from onnxprune.runtime.large import fit_protobuf
from onnxprune.runtime.session import Session, make_session
from onnxprune.runtime.values import AnyArray, check_feeds, from_ort_value, to_ort_values

__all__ = ["Capture", "capture", "captures", "join"]

_FIRST_CHUNK = 64
_SMALLEST_CHUNK = 16
_GROWTH = 8
_FEW = 8
_INTEGERS = 4096


@dataclass(frozen=True)
class Capture:
    """One concrete run.

    Attributes:
        shapes: Tensor name → shape. Sequences, optionals and tensors of inner graphs are absent.
        dtypes: Tensor name → dtype.
        values: Tensor name → value, for integer and boolean tensors of fewer than 4096
            elements and for any tensor of at most 8 elements.
    """

    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, np.dtype[Any]]
    values: Mapping[str, AnyArray]


class _Record:
    """The three tables of a run while they are filled."""

    def __init__(self, feeds: Mapping[str, AnyArray]) -> None:
        self.feeds = feeds
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, np.dtype[Any]] = {}
        self.values: dict[str, AnyArray] = {}
        for name, array in feeds.items():
            if self.declare(name, array.shape, array.dtype):
                self.keep(name, array)

    def declare(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
        """Notes a tensor; returns whether its value is wanted too."""
        self.shapes[name], self.dtypes[name] = shape, dtype
        size = int(np.prod(shape, dtype=np.int64))
        return size <= _FEW or (dtype.kind in "biu" and size < _INTEGERS)

    def keep(self, name: str, value: AnyArray) -> None:
        value = value.copy()
        value.flags.writeable = False
        self.values[name] = value

    def frozen(self) -> Capture:
        return Capture(MappingProxyType(self.shapes), MappingProxyType(self.dtypes), MappingProxyType(self.values))


def capture(
    model: onnx.ModelProto | Path,
    feeds: Mapping[str, AnyArray],
    *,
    folder: Path | None = None,
    activation_bytes: int = 512 * 2**20,
) -> Capture:
    """Returns every tensor of the main graph as it is in a run on `feeds`; see `captures`."""
    (found,) = captures(model, [feeds], folder=folder, activation_bytes=activation_bytes)
    return found


def captures(
    model: onnx.ModelProto | Path,
    feeds: Sequence[Mapping[str, AnyArray]],
    *,
    folder: Path | None = None,
    activation_bytes: int = 512 * 2**20,
) -> list[Capture]:
    """Returns every tensor of the main graph as it is in runs on each of `feeds`.

    Tensors are asked for in portions, each a run of its own, so that those kept alive at once
    stay near `activation_bytes`.

    Args:
        model: The model; every operator must be known to onnxruntime.
        feeds: For each run, input name → array.
        folder: Where the external data of a model given in memory lies.
        activation_bytes: Aim for the bytes of one portion.

    Raises:
        ModelError: when onnxruntime cannot load or run the model.
        DataError: when `feeds` do not fit the model's inputs.
    """
    if isinstance(model, Path):
        model, folder = onnx.load(model, load_external_data=False), model.resolve().parent
    records = [_Record(each) for each in feeds]
    for record in records:
        _initializers(model, folder, record)
    with tempfile.TemporaryDirectory(prefix="onnxprune-", ignore_cleanup_errors=True) as scratch:
        model, folder = fit_protobuf(model, folder, Path(scratch))
        _activations(model, folder, activation_bytes, records)
    return [record.frozen() for record in records]


def join(parts: Sequence[Capture]) -> Capture:
    """Returns what several captures of parts of one run tell together."""
    record = _Record({})
    for each in parts:
        record.shapes.update(each.shapes)
        record.dtypes.update(each.dtypes)
        record.values.update(each.values)
    return record.frozen()


def _initializers(model: onnx.ModelProto, folder: Path | None, record: _Record) -> None:
    for tensor in model.graph.initializer:
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        if record.declare(tensor.name, tuple(tensor.dims), dtype):
            if external_data_helper.uses_external_data(tensor) and folder is None:
                continue
            record.keep(tensor.name, numpy_helper.to_array(tensor, str(folder or "")))


def _activations(model: onnx.ModelProto, folder: Path | None, limit: int, records: Sequence[_Record]) -> None:
    names = [name for node in model.graph.node for name in node.output if name]
    declared = {v.name for v in model.graph.output}
    content = model.SerializeToString()
    start, count = 0, _FIRST_CHUNK
    while start < len(names):
        chunk = names[start : start + count]
        extra = onnx.ModelProto()
        extra.graph.output.extend(onnx.ValueInfoProto(name=n) for n in chunk if n not in declared)
        # Concatenated messages merge in protobuf, so the weights are not copied for each portion.
        largest = _run_chunk(content + extra.SerializeToString(), folder, chunk, records)
        start += count
        count = max(_SMALLEST_CHUNK, min(limit // max(largest, 1), _GROWTH * count))


def _run_chunk(content: bytes, folder: Path | None, chunk: list[str], records: Sequence[_Record]) -> int:
    """Records the tensors of one portion, and returns the bytes of the largest."""
    session = make_session(content, optimize=False, folder=folder, lean=folder is not None)
    for record in records:
        check_feeds(session, record.feeds)
    kinds = {o.name: o.type for o in session.get_outputs()}
    wanted = [name for name in chunk if kinds[name].startswith("tensor(")]
    return max(_run_one(session, wanted, record) for record in records) if wanted else 0


def _run_one(session: Session, wanted: list[str], record: _Record) -> int:
    """Records the tensors of one run, and returns the bytes of the largest."""
    try:
        values = session.run_with_ort_values(wanted, to_ort_values(record.feeds))
    except ORT_ERRORS as error:
        raise ModelError(f"onnxruntime cannot run the model to see its shapes: {explain(error)}.") from error
    largest = 0
    for name, value in _tensors(wanted, values):
        dtype = helper.tensor_dtype_to_np_dtype(value.element_type())
        shape = tuple(value.shape())
        if record.declare(name, shape, dtype) and value.element_type() != TensorProto.STRING:
            record.keep(name, from_ort_value(value))
        largest = max(largest, int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
    return largest


def _tensors(names: list[str], values: Any) -> Iterator[tuple[str, Any]]:
    """Yields what is a tensor; an optional output may hold nothing."""
    for name, value in zip(names, values, strict=True):
        if value is not None and value.has_value() and value.is_tensor():
            yield name, value
