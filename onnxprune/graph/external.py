"""Where a tensor's external data lies, checked before a byte of it is read.

A model file from elsewhere must not be able to make us read /etc/passwd: every path has to
stay inside the model's folder, whatever links it goes through.
"""

from __future__ import annotations

import stat
from pathlib import Path, PurePosixPath, PureWindowsPath

from onnx import TensorProto

from onnxprune.core.errors import ModelError
from onnxprune.graph.values import ExternalValues, packed_bytes

__all__ = ["external_values", "is_external"]

_MOST_DIGITS = 20  # of a byte count; Python refuses to read thousands


def is_external(tensor: TensorProto) -> bool:
    """Returns whether a tensor's values lie in a data file."""
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def external_values(tensor: TensorProto, folder: Path | None) -> ExternalValues:
    """Returns the unread values of a tensor with external data.

    Args:
        tensor: The tensor.
        folder: The model's folder, None for a model that came from memory.

    Raises:
        ModelError: when the path leaves the folder, the file is missing or too short, or
            offset and length make no sense.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise ModelError(
            f"Tensor {tensor.name!r} keeps its values in the file {location!r}, and a model in memory has no folder "
            "to look in. Give the model's path, or load it with its data (onnx.load does)."
        )
    path = _confined(tensor.name, location, folder)
    offset = _number(tensor.name, "offset", entries.get("offset", "0"))
    needed = packed_bytes(tensor.data_type, tuple(tensor.dims))
    length = _number(tensor.name, "length", entries["length"]) if "length" in entries else needed
    if length != needed:
        raise ModelError(
            f"Tensor {tensor.name!r} has shape {list(tensor.dims)} and needs {needed} bytes, but its external data "
            f"is said to be {length} bytes long. The model file is damaged; export or download it again."
        )
    size = path.stat().st_size
    if offset + length > size:
        raise ModelError(
            f"Tensor {tensor.name!r} needs bytes {offset} to {offset + length} of {path.name}, which has only {size}. "
            "The data file is truncated or belongs to another model; export or download both files again."
        )
    return ExternalValues(tensor, path, offset)


def _number(tensor: str, what: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise ModelError(
            f"Tensor {tensor!r}: {what} {text!r} of its external data is no number of bytes. "
            "The model file is damaged; export or download it again."
        )
    return int(text)


def _confined(tensor: str, location: str, folder: Path) -> Path:
    """Returns the real path of a data file inside `folder`."""
    rule = "External data must lie in the model's folder; copy it there and correct the path in the model."
    windows = PureWindowsPath(location)
    if not location or "\0" in location:
        raise ModelError(f"Tensor {tensor!r} has external data with no usable path ({location!r}). {rule}")
    if PurePosixPath(location).is_absolute() or windows.drive or windows.root:
        raise ModelError(f"Tensor {tensor!r} keeps its values at the absolute path {location!r}. {rule}")
    if ".." in PurePosixPath(location).parts or ".." in windows.parts:
        raise ModelError(f"Tensor {tensor!r} keeps its values at {location!r}, a path with '..'. {rule}")
    root = folder.resolve()
    try:
        path = (root / location).resolve(strict=True)
        regular = stat.S_ISREG(path.stat().st_mode)
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise ModelError(
            f"Tensor {tensor!r} keeps its values in {location!r}, which cannot be read in {root}: {error}. "
            "Put the data file beside the model, under the name it was exported with."
        ) from error
    if not path.is_relative_to(root):
        raise ModelError(f"Tensor {tensor!r} keeps its values in {location!r}, a link to {path}. {rule}")
    if not regular:
        raise ModelError(f"Tensor {tensor!r} keeps its values in {location!r}, which is not a regular file. {rule}")
    return path
