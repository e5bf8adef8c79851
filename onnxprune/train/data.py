"""Training and evaluation data: samples for each model input, and labels where there are any.

This module needs numpy only (and Pillow, where images are read), so evaluation in onnxruntime uses
it as retraining does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from onnxprune.core.errors import DataError
from onnxprune.graph import TensorSpec
from onnxprune.train.columns import Column, Normalization, make_column
from onnxprune.train.dataset import Dataset
from onnxprune.train.found import LABELS, UNNAMED, Found
from onnxprune.train.label_checks import LabelKind, check_labels, class_count
from onnxprune.train.samples import Batch, Samples
from onnxprune.train.sources import ImageOptions, ImageSize, Source, Split, find_feed, read_arrays
from onnxprune.train.stored import Stored
from onnxprune.train.stream import Stream, open_stream

__all__ = ["LABELS", "Batch", "Dataset", "Samples", "Stream", "class_count", "open_data"]


def open_data(
    source: Source,
    inputs: Sequence[TensorSpec],
    *,
    image_mean: float | Sequence[float] | None = None,
    image_std: float | Sequence[float] | None = None,
    image_size: ImageSize | None = None,
    skip_corrupt: bool = False,
    outputs: Sequence[TensorSpec] = (),
    labels: LabelKind = "classes",
    split: Split = "train",
) -> Samples:
    """Returns the samples at `source`, checked against the model.

    Everything is looked at before this returns: values for NaN, labels for their range, images for
    damage, and a user's function in one full pass.

    Args:
        source: Path of an .npz or .npy file, of a folder of images or of a saved Hugging Face
            dataset; `pkg.mod:name`, a function that returns batches; a mapping from names to
            arrays; or such a function or re-iterable itself.
        inputs: The model's inputs.
        image_mean: Subtracted from pixels / 255 of images and uint8 arrays; per channel or one for
            all.
        image_std: Divides them afterwards.
        image_size: Height and width (or one number) that image files are resized to where the model
            leaves the size open.
        skip_corrupt: Leaves out image files that cannot be read, with a note.
        outputs: The model's outputs; labels are checked against them.
        labels: "classes": class indices, [samples] or dense, or floats in 0..1 of an output's shape;
            "any": numbers of any shape [samples, …] that a loss of the user's reads; "either": as
            they fit.
        split: Which part is wanted of a dataset that has several.

    Raises:
        DataError: when the data cannot be read or do not fit the model; says what fits.
        UsageError: when `source` names code that does not exist.
    """
    if not inputs:
        raise DataError("The model has no inputs, so there is nothing to feed data into.")
    normalization = Normalization.of(image_mean, image_std)
    options = ImageOptions(image_size, skip_corrupt)
    options.height_and_width()  # a wrong one is wrong whatever the source is
    feed = find_feed(source)
    if feed is not None:
        return open_stream(*feed, inputs, normalization=normalization, outputs=outputs, labels=labels)
    return _dataset(read_arrays(source, inputs, options, split), inputs, normalization, outputs, labels)


def _dataset(
    found: Found,
    inputs: Sequence[TensorSpec],
    normalization: Normalization,
    outputs: Sequence[TensorSpec],
    kind: LabelKind,
) -> Dataset:
    arrays = dict(found.arrays)
    labels = arrays.pop(LABELS, None)
    chosen, notes = _assign(found.where, arrays, inputs)
    checked = {what: array for _, what, array in chosen}
    if labels is not None:
        checked[f"{found.where}, `{LABELS}`"] = labels
    _check_counts(checked)
    columns: list[Column] = []
    for spec, what, array in chosen:
        column, told = make_column(what, array, spec, normalization)
        columns.append(column)
        notes.extend(told)
    if kind == "classes":
        _check_class_names(found, outputs)
    return Dataset(
        tuple(columns),
        None if labels is None else check_labels(found.where, labels, outputs, kind),
        (*found.notes, *notes),
        np.arange(len(columns[0].array), dtype=np.intp),
        found.classes,
        found.kind,
    )


def _assign(
    where: str, arrays: dict[str, Stored], inputs: Sequence[TensorSpec]
) -> tuple[list[tuple[TensorSpec, str, Stored]], list[str]]:
    """Pairs inputs with arrays: (input, what messages call the array, the array), and notes."""
    wanted = [spec.name for spec in inputs]
    if all(name in arrays for name in wanted):
        ignored = sorted(set(arrays) - set(wanted))
        notes = (
            [f"{where}: arrays that are no input of the model are ignored: {', '.join(ignored)}."] if ignored else []
        )
        return [(spec, f"{where}, array {spec.name!r}", arrays[spec.name]) for spec in inputs], notes
    if len(arrays) == 1 and len(wanted) == 1:
        name, array = next(iter(arrays.items()))
        if name == UNNAMED:
            return [(inputs[0], where, array)], []
        return [(inputs[0], f"{where}, array {name!r}", array)], [
            f"{where}: array {name!r} is used for input {wanted[0]!r}."
        ]
    held = ", ".join(repr(name) for name in arrays if name) or ("one without a name" if arrays else "none")
    raise DataError(
        f"{where} does not fit the model. Inputs of the model: {', '.join(map(repr, wanted))}; arrays found (beside "
        f"`{LABELS}`): {held}. Name one array after each input."
    )


def _check_counts(arrays: dict[str, Stored]) -> None:
    for what, array in arrays.items():
        if math.prod(array.shape) == 0 or not array.shape:
            raise DataError(f"{what}: the array of shape {list(array.shape)} is empty. Give at least one sample.")
    if len({len(array) for array in arrays.values()}) > 1:
        listed = "; ".join(f"{what}: {len(array)}" for what, array in arrays.items())
        raise DataError(f"Arrays have different numbers of samples ({listed}). Each needs the same first axis.")


def _check_class_names(found: Found, outputs: Sequence[TensorSpec]) -> None:
    """Refuses more classes than the model tells apart, whether or not there are samples of each."""
    classes = class_count(outputs)
    if classes is not None and len(found.classes) > classes:
        listed = ", ".join(found.classes[:5]) + (", ..." if len(found.classes) > 5 else "")
        raise DataError(
            f"{found.where} has {len(found.classes)} classes ({listed}), and the model tells {classes} apart. Give the "
            "classes the model was trained on, in the same order; sub-folders count in the order of their names."
        )
