"""Reading arrays from where `--data` points, never running code that a file brings along."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxprune.core.errors import DataError

__all__ = ["UNNAMED", "Source", "read_arrays"]

UNNAMED = ""
"""What the single array of an .npy file is called."""

Source = str | os.PathLike[str] | Mapping[str, NDArray[Any]]
_SUPPORTED = (
    "Give an .npz file with one array per model input (named as the input) and, where there are any, `labels`; or "
    "an .npy file for a model with one input."
)


def read_arrays(source: Source) -> tuple[str, dict[str, NDArray[Any]]]:
    """Returns what to call the source in messages, and its arrays by name.

    Args:
        source: Path of an .npz or .npy file, or a mapping from names to arrays. An .npy file
            stays on disk and is read page by page.

    Raises:
        DataError: when there is no such file, it is of another kind, or it is damaged.
    """
    if isinstance(source, Mapping):
        return "The data", {name: np.asarray(array) for name, array in source.items()}
    path = Path(source)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"Data {os.fspath(source)!r} {what}. {_SUPPORTED}")
    if path.suffix not in (".npz", ".npy"):
        raise DataError(f"Data file {str(path)!r} ends in {path.suffix or 'nothing'!r}. {_SUPPORTED}")
    try:
        return f"Data file {str(path)!r}", _load(path)
    except (OSError, ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"Data file {str(path)!r} cannot be read: {error}. Files with Python objects in them are refused; "
            "write plain arrays with numpy.savez or numpy.save."
        ) from error


def _load(path: Path) -> dict[str, NDArray[Any]]:
    if path.suffix == ".npy":
        return {UNNAMED: np.load(path, mmap_mode="r", allow_pickle=False)}
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
