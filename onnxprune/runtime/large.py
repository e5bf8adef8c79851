"""Weights handed to onnxruntime in a file instead of inside the model.

onnxruntime reads a model above the 2 GB that one protobuf message may hold only from a file with
external data, and it maps such data where it would copy embedded weights. Weights are therefore
written to a temporary folder, tensor by tensor, so that no second copy of all of them is held.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from onnxprune.core.errors import ModelError
from onnxprune.graph import DataFile, Model

__all__ = ["PROTOBUF_LIMIT", "fit_protobuf", "inline_bytes", "spill", "with_data_file"]

PROTOBUF_LIMIT = 1_900_000_000
_SMALL = 1024
_EMBEDDED = 16 * 2**20
_DATA = "weights.bin"


def with_data_file(model: Model, folder: Path) -> tuple[onnx.ModelProto, Path | None]:
    """Returns a model as a proto, and the folder of its external data if it has any.

    Args:
        model: The model.
        folder: Where large weights are written to; it must outlive the making of the session.

    Raises:
        OSError: when the file cannot be written.
    """
    if model.weight_bytes() <= _EMBEDDED:
        return model.to_proto(), None
    skeleton = model.skeleton()
    store = DataFile(_DATA, lambda: (folder / _DATA).open("wb"))
    try:
        skeleton.fill(skeleton.proto.graph, store.place)
    finally:
        store.close()
    return skeleton.proto, folder


def fit_protobuf(
    model: onnx.ModelProto, folder: Path | None, scratch: Path, limit: int = PROTOBUF_LIMIT
) -> tuple[onnx.ModelProto, Path | None]:
    """Returns a model that can be serialized, and the folder of its external data.

    Args:
        model: The model.
        folder: Where its external data lies, None when all weights are inline.
        scratch: Where weights may be moved to; it must outlive the making of the session.
        limit: Bytes of inline weights above which they are moved.

    Raises:
        ModelError: when the model has both external data and too much inline.
    """
    size = inline_bytes(model)
    if size <= limit:
        return model, folder
    if folder is not None:
        raise ModelError(
            f"The model holds {size / 1e9:.1f} GB of weights inline beside its external data; one ONNX file may hold "
            "2 GB. Save it with all large weights as external data."
        )
    return spill(model, scratch), scratch


def inline_bytes(model: onnx.ModelProto) -> int:
    """Returns the bytes of the initializers that `model` holds inline, from their shapes alone."""
    return sum(_size(t) for t in model.graph.initializer if not external_data_helper.uses_external_data(t))


def _size(tensor: TensorProto) -> int:
    if tensor.data_type in (TensorProto.STRING, TensorProto.UNDEFINED):
        return 0
    return int(np.prod(tensor.dims, dtype=np.int64)) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def spill(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """Returns `model` with its inline weights moved to a file in `folder`; `model` stays as it is.

    Args:
        model: A model whose large initializers are inline.
        folder: An existing folder; "weights.bin" is written there.

    Raises:
        OSError: when the file cannot be written.
    """
    slim = onnx.ModelProto(ir_version=model.ir_version)
    slim.opset_import.extend(model.opset_import)
    slim.functions.extend(model.functions)
    for field, value in model.graph.ListFields():
        if field.name == "initializer":
            continue
        if isinstance(value, str):
            setattr(slim.graph, field.name, value)
        else:
            getattr(slim.graph, field.name).extend(value)
    with (folder / _DATA).open("wb") as file:
        for tensor in model.graph.initializer:
            target = slim.graph.initializer.add()
            if _size(tensor) < _SMALL or external_data_helper.uses_external_data(tensor):
                target.CopyFrom(tensor)
                continue
            data = tensor.raw_data or numpy_helper.to_array(tensor).tobytes()
            target.name, target.data_type = tensor.name, tensor.data_type
            target.dims.extend(tensor.dims)
            target.data_location = TensorProto.EXTERNAL
            entries = {"location": _DATA, "offset": file.tell(), "length": len(data)}
            for key, entry in entries.items():
                target.external_data.add(key=key, value=str(entry))
            file.write(data)
    return slim
