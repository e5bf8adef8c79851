"""A Hugging Face dataset that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote.

Such a folder is JSON and Arrow files: `load_from_disk` maps the Arrow files, makes the features
from dataclasses of its own that the JSON names, and unpickles, downloads or imports nothing. Only
file names are checked here, since the library joins them to the folder as they are. The library's
own decoding of images is not used: it would follow a path or an address that a row names, while
here only bytes inside the data set are images. A column is read in Arrow's types, piece by piece.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from onnxprune.core.errors import DataError
from onnxprune.graph import TensorSpec
from onnxprune.train.found import LABELS, Found
from onnxprune.train.sources.arrow_column import read_column
from onnxprune.train.sources.image_folder import class_notes
from onnxprune.train.sources.picture_input import ImageOptions, open_for_input
from onnxprune.train.stored import Stored

__all__ = ["Split", "is_saved_dataset", "read_saved_dataset"]

Split = Literal["train", "validation", "test"]

_LABEL_COLUMNS = (LABELS, "label")
_PREFERRED: dict[str, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "validation", "valid", "val"),
}
_ROLES = {"train": "training", "validation": "validation", "test": "evaluation"}
_STATE, _INFO, _SPLITS = "state.json", "dataset_info.json", "dataset_dict.json"


@dataclass(frozen=True)
class _ImageColumn:
    """Images that lie in a column as {bytes, path}."""

    table: Any  # a datasets.Dataset of this column alone, in Arrow format
    column: str

    @classmethod
    def of(cls, table: Any, column: str) -> _ImageColumn:
        return cls(table.select_columns([column]), column)

    def __len__(self) -> int:
        return len(self.table)

    def open(self, index: int) -> IO[bytes]:
        value = self.table[index][self.column][0].as_py()
        if value is None or value.get("bytes") is None:
            raise ValueError("the row has no image bytes; paths and addresses are not followed")
        return io.BytesIO(value["bytes"])

    def name(self, index: int) -> str:
        return f"row {index}"


def is_saved_dataset(folder: Path) -> bool:
    """Returns whether a folder is one that `save_to_disk` wrote."""
    return any((folder / name).is_file() for name in (_SPLITS, _STATE, _INFO))


def read_saved_dataset(folder: Path, inputs: Sequence[TensorSpec], options: ImageOptions, split: Split) -> Found:
    """Returns the columns that the model reads, by input name, and the labels.

    Args:
        folder: What `save_to_disk` wrote.
        inputs: The model's inputs; columns are named as they are, or there is one of each.
        options: How image columns are read.
        split: Which part of a DatasetDict is wanted.

    Raises:
        DataError: when the library is missing, the folder is damaged, or columns do not fit.
    """
    where = f"Dataset {str(folder)!r}"
    folder, notes = _choose(where, folder, split)
    table = _load(where, folder)
    if len(table) == 0:
        raise DataError(f"{where} is empty. Give at least one sample.")
    columns = _pair(where, table, inputs)
    notes += [
        f"{where}: column {column!r} is used for input {name!r}." for name, column in columns.items() if name != column
    ]
    label = next((name for name in _LABEL_COLUMNS if name in table.column_names and name not in columns.values()), None)
    arrays, table, told = _read_images(where, table, columns, inputs, options)
    notes += told
    for spec in inputs:
        if spec.name not in arrays:
            arrays[spec.name] = read_column(where, table, columns[spec.name])
    classes: tuple[str, ...] = ()
    if label is not None:
        arrays[LABELS] = read_column(where, table, label)
        classes = tuple(getattr(table.features[label], "names", None) or ())
        notes += class_notes(where, len(table), "samples", classes) if classes else ()
    unused = [name for name in table.column_names if name not in (*columns.values(), label)]
    if unused:
        notes.append(f"{where}: columns that are no input of the model are ignored: {', '.join(unused)}.")
    return Found(where, "Hugging Face dataset", arrays, tuple(notes), classes)


def _read_images(
    where: str, table: Any, columns: Mapping[str, str], inputs: Sequence[TensorSpec], options: ImageOptions
) -> tuple[dict[str, Stored], Any, list[str]]:
    """Returns the image columns by input name, the table without the rows of damaged images, and notes."""
    images = [spec for spec in inputs if _is_image(table, columns[spec.name])]
    arrays: dict[str, Stored] = {}
    notes: list[str] = []
    for spec in images:
        opened = open_for_input(where, _ImageColumn.of(table, columns[spec.name]), spec, options)
        arrays[spec.name] = opened.array
        notes += opened.notes
        if len(opened.rows) < len(table):
            if len(images) > 1:
                raise DataError(f"{where}: with several image columns none is left out; repair them. {opened.notes[0]}")
            table = table.select(opened.rows)
    return arrays, table, notes


def _choose(where: str, folder: Path, split: Split) -> tuple[Path, list[str]]:
    """Returns the folder of the data set itself, which a DatasetDict has one of for each split."""
    if not (folder / _SPLITS).is_file():
        return folder, []
    try:
        names = json.loads((folder / _SPLITS).read_text(encoding="utf-8"))["splits"]
        parts = [name for name in names if Path(name).name == name and (folder / name).is_dir()]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{where} cannot be read: {_SPLITS} is damaged ({error}). Save the data set again.") from error
    chosen = next((name for name in _PREFERRED[split] if name in parts), parts[0] if len(parts) == 1 else None)
    if chosen is None:
        wanted = " or ".join(map(repr, _PREFERRED[split]))
        listed = ", ".join(map(repr, parts)) or "none"
        raise DataError(
            f"{where} has no split {wanted}; its splits: {listed}. Give the folder of one split, such as "
            f"{str(folder / (parts[0] if parts else 'train'))!r}."
        )
    return folder / chosen, [f"{where}: split {chosen!r} is used as {_ROLES[split]} data; splits: {', '.join(parts)}."]


def _load(where: str, folder: Path) -> Any:
    """Returns a datasets.Dataset that gives Arrow tables."""
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"{where} is a Hugging Face dataset, which needs the `datasets` library ({error}). Install it with: "
            "pip install 'onnxprune[datasets]'."
        ) from error
    try:
        _check_file_names(folder)
        # memory-mapped whatever its size; a format that was saved with it, such as "torch", does not matter here
        return datasets.load_from_disk(str(folder), keep_in_memory=False).with_format("arrow")
    # pyarrow's errors are ValueError, KeyError, NotImplementedError, RuntimeError and OSError
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        text = " ".join(str(error).split()).rstrip(".")
        raise DataError(f"{where} cannot be read: {text}. Write it again with save_to_disk.") from error


def _check_file_names(folder: Path) -> None:
    files = json.loads((folder / _STATE).read_text(encoding="utf-8"))["_data_files"]
    if not files:
        raise ValueError(f"{_STATE} names no data files, so the data set is empty")
    for file in files:
        if Path(file["filename"]).name != file["filename"]:
            raise ValueError(f"{_STATE} names a file in another folder: {file['filename']!r}")


def _is_image(table: Any, column: str) -> bool:
    return type(table.features[column]).__name__ == "Image"


def _pair(where: str, table: Any, inputs: Sequence[TensorSpec]) -> dict[str, str]:
    """Returns input name → column name."""
    names = [spec.name for spec in inputs]
    found = list(table.column_names)
    if names and all(name in found for name in names):
        return {name: name for name in names}
    others = [name for name in found if name not in _LABEL_COLUMNS]
    images = [name for name in others if _is_image(table, name)]
    for only in (images, others):
        if len(names) == len(only) == 1:
            return {names[0]: only[0]}
    listed = ", ".join(f"{name!r} ({type(table.features[name]).__name__})" for name in found) or "none"
    raise DataError(
        f"{where} does not fit the model. Inputs of the model: {', '.join(map(repr, names)) or 'none'}; columns found: "
        f"{listed}. Rename the columns as the inputs (Dataset.rename_column)."
    )
