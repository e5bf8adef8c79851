"""Models out: whole or not at all, the same bytes for the same model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from onnxprune.core.errors import OutputError
from onnxprune.graph.export import export_model
from onnxprune.graph.model import MAX_EMBEDDED_BYTES, Model
from onnxprune.graph.staging import Staging
from onnxprune.graph.values import StoredValues, byte_size, raw_pieces, to_tensor

__all__ = ["save_model"]

_SMALLEST_EXTERNAL_BYTES = 1024
_ALIGNMENT_BYTES = 64
_PAGE_BYTES = 4096


def save_model(
    model: Model, path: str | Path, *, external: bool | None = None, check: Callable[[Path], None] | None = None
) -> list[Path]:
    """Writes a model and returns the files written: the model, then its data file if there is one.

    With external data, tensors of 1 KiB and more go to `<name>.data` beside the model, one
    after the other. Model and data file appear together or not at all, and what was there
    before stays when anything fails.

    Args:
        model: The model.
        path: Where it goes.
        external: Whether weights go into a data file; None: when the source had one, or the
            weights are too large for an ONNX file.
        check: Called with the complete file, its data file beside it, before either gets its
            place; what it raises leaves everything as it was.

    Raises:
        OutputError: when the place cannot be written, or is the source itself.
        ModelError: when `external` is False and the weights are too large, or the source's data
            file changed meanwhile.
    """
    target = Path(path)
    data = target.with_name(target.name + ".data") if target.name else target
    if external is None:
        external = model.external_data or model.weight_bytes() > MAX_EMBEDDED_BYTES
    _refuse_sources(model, (target, data) if external else (target,))
    with Staging() as staging:
        store = _DataFile(staging, data)
        proto = export_model(model.graph, model.header, store.place) if external else model.to_proto()
        file = staging.open(target)
        file.write(proto.SerializeToString(deterministic=True))
        written = staging.finish()
        if check is not None:
            check(written[target])
    return [target, data] if store.used else [target]


def _refuse_sources(model: Model, targets: tuple[Path, ...]) -> None:
    sources = ([model.path] if model.path is not None else []) + list(model.data_files)
    for target in targets:
        for source in sources:
            if target.exists() and source.exists() and target.samefile(source):
                raise OutputError(
                    f"{target} is {source}, which the model is read from. Give another path for the output."
                )


class _DataFile:
    """Takes tensors one after the other; the file is opened for the first one.

    Args:
        staging: Opens the file.
        path: Where it goes.
    """

    def __init__(self, staging: Staging, path: Path) -> None:
        self._staging = staging
        self._path = path
        self._file: BinaryIO | None = None
        self._position = 0

    @property
    def used(self) -> bool:
        """Whether any tensor went into the file."""
        return self._file is not None

    def place(self, name: str, values: StoredValues | NDArray[Any]) -> TensorProto:
        """Returns a TensorProto that says where in the file the values lie, or holds small ones."""
        size = byte_size(values)
        if size < _SMALLEST_EXTERNAL_BYTES or values.dtype == object:
            return to_tensor(name, values)
        if self._file is None:
            self._file = self._staging.open(self._path)
        alignment = _PAGE_BYTES if size >= 2**20 else _ALIGNMENT_BYTES  # pages, so that runtimes can map it
        self._write(b"\0" * (-self._position % alignment))
        offset = self._position
        for piece in raw_pieces(values):
            self._write(piece)
        return self._entry(name, values, offset)

    def _write(self, piece: bytes) -> None:
        if self._file is not None:
            self._file.write(piece)
            self._position += len(piece)

    def _entry(self, name: str, values: StoredValues | NDArray[Any], offset: int) -> TensorProto:
        if isinstance(values, np.ndarray):
            kind = helper.np_dtype_to_tensor_dtype(values.dtype)
            proto = TensorProto(name=name, data_type=kind, dims=values.shape)
        else:
            proto = values.header(name)
        proto.data_location = TensorProto.EXTERNAL
        length = self._position - offset
        for key, value in (("location", self._path.name), ("offset", str(offset)), ("length", str(length))):
            proto.external_data.add(key=key, value=value)
        return proto
