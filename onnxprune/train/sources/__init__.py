"""Where data comes from: arrays, NumPy files, folders of images, saved datasets, the user's code.

Nothing here runs code that a file brings along; `pkg.mod:name` alone runs code, and the user
names it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxprune.core.errors import DataError
from onnxprune.graph import TensorSpec
from onnxprune.train.custom import load_callable
from onnxprune.train.feed import Feed
from onnxprune.train.found import LABELS, UNNAMED, Found
from onnxprune.train.sources.archive import read_file
from onnxprune.train.sources.image_folder import read_image_folder
from onnxprune.train.sources.picture_input import ImageOptions, ImageSize
from onnxprune.train.sources.saved_dataset import Split, is_saved_dataset, read_saved_dataset

__all__ = [
    "LABELS",
    "UNNAMED",
    "Feed",
    "Found",
    "ImageOptions",
    "ImageSize",
    "Source",
    "Split",
    "find_feed",
    "read_arrays",
]

Source = str | os.PathLike[str] | Mapping[str, NDArray[Any]] | Feed

_NAME = re.compile(r"[^\W\d][\w.]*:[^\W\d][\w.]*")
_SUPPORTED = (
    "Give an .npz file with one array per model input (named as the input) and, where there are any, `labels`; an .npy "
    "file for a model with one input; a folder of images (sub-folders are classes); a Hugging Face dataset saved with "
    "save_to_disk; or pkg.mod:name, a function that returns batches."
)


def find_feed(source: Source) -> tuple[str, Feed] | None:
    """Returns what messages call the user's code at `source`, and the code; None where the source is data.

    Raises:
        DataError: when the code fails to import.
        UsageError: when there is no such module or function.
    """
    if isinstance(source, str) and _NAME.fullmatch(source) and not Path(source).exists():
        return f"Data {source!r}", load_callable(source, "data")
    if isinstance(source, str | os.PathLike | Mapping | np.ndarray):
        return None
    return f"Data {getattr(source, '__qualname__', type(source).__name__)!r}", source


def read_arrays(source: Source, inputs: Sequence[TensorSpec], options: ImageOptions, split: Split) -> Found:
    """Returns the arrays at a source that is no code.

    Args:
        source: Path of a file or folder, or a mapping from names to arrays.
        inputs: The model's inputs.
        options: How image files are read.
        split: Which part of a dataset with several is wanted.

    Raises:
        DataError: when there is no such file or folder, it is of another kind, or it is damaged.
    """
    if isinstance(source, Mapping):
        return Found("The data", "arrays", {name: np.asarray(array) for name, array in source.items()})
    if not isinstance(source, str | os.PathLike):
        raise DataError(f"Data of type {type(source).__name__} is not understood. {_SUPPORTED}")
    path = Path(source)
    if path.is_dir():
        if is_saved_dataset(path):
            return read_saved_dataset(path, inputs, options, split)
        return read_image_folder(path, inputs, options)
    if not path.exists():
        raise DataError(f"Data {os.fspath(source)!r} does not exist. {_SUPPORTED}")
    if not path.is_file() or path.suffix not in (".npz", ".npy"):
        raise DataError(f"Data file {str(path)!r} ends in {path.suffix or 'nothing'!r}. {_SUPPORTED}")
    return read_file(path)
