"""A folder of image files; its sub-folders, where it has any, are the classes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from onnxprune.core.errors import DataError
from onnxprune.graph import TensorSpec
from onnxprune.train.found import LABELS, UNNAMED, Found
from onnxprune.train.sources.picture import SUFFIXES
from onnxprune.train.sources.picture_input import ImageOptions, open_for_input
from onnxprune.train.stored import Stored

__all__ = ["class_notes", "read_image_folder"]

_SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval"}
_SHOWN = 10


@dataclass
class _Tree:
    """What lies below a folder: paths of images, and names of what is ignored."""

    images: list[Path]
    ignored: list[str]


@dataclass(frozen=True)
class _Files:
    """Images by path."""

    folder: Path
    paths: Sequence[Path]

    def __len__(self) -> int:
        return len(self.paths)

    def open(self, index: int) -> Path:
        return self.paths[index]

    def name(self, index: int) -> str:
        return self.paths[index].relative_to(self.folder).as_posix()


def read_image_folder(folder: Path, inputs: Sequence[TensorSpec], options: ImageOptions) -> Found:
    """Returns the images of a folder, and their classes where they lie in sub-folders.

    Images directly in the folder have no labels. Otherwise class i is the i-th sub-folder by name;
    what lies deeper belongs to it, too. Links are followed.

    Raises:
        DataError: when the folder has no images, mixes both forms or holds splits; when the model
            reads something else; when files are damaged.
    """
    where = f"Data folder {str(folder)!r}"
    if len(inputs) != 1:
        raise DataError(
            f"{where} holds one image per sample, and the model has {len(inputs)} inputs "
            f"({', '.join(repr(spec.name) for spec in inputs)}). Give an .npz file with an array for each input."
        )
    try:
        tree, trees = _scan(folder)
    except OSError as error:
        raise DataError(f"{where} cannot be read: {error}.") from error
    _check_form(where, tree, trees)
    classes = () if tree.images else tuple(trees)
    files = _Files(folder, [path for part in (tree, *trees.values()) for path in part.images])
    notes = [*_ignored_note(where, [name for part in (tree, *trees.values()) for name in part.ignored])]
    if tree.images and trees:
        notes.append(f"{where}: its sub-folders hold no images, so the images have no labels.")
    opened = open_for_input(where, files, inputs[0], options)
    arrays: dict[str, Stored] = {UNNAMED: opened.array}
    if classes:
        index = np.repeat(np.arange(len(classes)), [len(part.images) for part in trees.values()])
        arrays[LABELS] = index[opened.rows]
        notes += class_notes(where, len(opened.rows), "images", classes)
        notes += _empty_note(where, trees)
    else:
        notes.append(f"{where}: {len(opened.rows):,} images without labels.")
    return Found(where, "folder of images", arrays, (*notes, *opened.notes), classes)


def class_notes(where: str, samples: int, what: str, classes: Sequence[str]) -> Iterator[str]:
    """Yields what to say about classes that have names; `what` says what the samples are."""
    listed = ", ".join(f"{index} = {name}" for index, name in enumerate(classes[:_SHOWN]))
    more = ", ..." if len(classes) > _SHOWN else ""
    yield f"{where}: {samples:,} {what} in {len(classes):,} classes ({listed}{more})."
    if not all(name.isdecimal() for name in classes):
        return
    swapped = next(((one, two) for one, two in pairwise(classes) if int(one) > int(two)), None)
    if swapped is not None:
        yield (
            f"{where}: class names are sorted as text, so {swapped[0]!r} comes before {swapped[1]!r}. Where the model "
            "counts them as numbers, pad the names with zeros."
        )


def _scan(folder: Path) -> tuple[_Tree, dict[str, _Tree]]:
    """Returns the images directly in a folder, and those of its sub-folders by name."""
    top = _Tree([], [])
    names = _look(folder, top)
    trees = {}
    for name in names:
        tree = trees[name] = _Tree([], [])
        seen: set[tuple[int, int]] = set()
        waiting = [folder / name]
        while waiting:
            place = waiting.pop()
            status = place.stat()
            if (status.st_dev, status.st_ino) in seen:  # a link that leads back up, or twice to one folder
                continue
            seen.add((status.st_dev, status.st_ino))
            waiting += [place / inner for inner in _look(place, tree)]
        tree.images.sort()
    return top, trees


def _look(folder: Path, tree: _Tree) -> list[str]:
    """Adds a folder's files to `tree`; returns the names of its folders, sorted."""
    folders = []
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith("."):
                tree.ignored.append(entry.name)
            elif entry.is_dir():
                folders.append(entry.name)
            # a link to nowhere counts as an image that cannot be read; a pipe would be waited on for ever
            elif entry.name.lower().endswith(SUFFIXES) and (entry.is_file() or not os.path.exists(entry)):
                tree.images.append(Path(entry.path))
            else:
                tree.ignored.append(entry.name)
    return folders


def _check_form(where: str, top: _Tree, trees: dict[str, _Tree]) -> None:
    filled = [name for name, tree in trees.items() if tree.images]
    if not top.images and not filled:
        endings = ", ".join(suffix[1:] for suffix in SUFFIXES)
        raise DataError(
            f"{where} holds no images. Give a folder with image files ({endings}), or with one sub-folder of them per "
            "class."
        )
    if top.images and filled:
        raise DataError(
            f"{where} holds images ({top.images[0].name!r}) as well as sub-folders of images ({filled[0]!r}). With "
            "labels, all images lie in sub-folders named as the classes; without, all lie in the folder itself."
        )
    if not top.images and all(name.lower() in _SPLITS for name in filled):
        raise DataError(
            f"{where} holds sub-folders {', '.join(map(repr, filled))}, which are named as parts of a data set and not "
            f"as classes. Give one of them, such as {filled[0]!r}, and another as evaluation data."
        )


def _ignored_note(where: str, names: Sequence[str]) -> Iterator[str]:
    if names:
        kinds = Counter(names)
        listed = ", ".join(list(kinds)[:3]) + (", ..." if len(kinds) > 3 else "")
        yield f"{where}: {len(names):,} hidden files and files that are no images are ignored ({listed})."


def _empty_note(where: str, trees: dict[str, _Tree]) -> Iterator[str]:
    empty = [name for name, tree in trees.items() if not tree.images]
    if empty:
        yield (
            f"{where}: sub-folders without images keep their place among the classes: {', '.join(empty[:_SHOWN])}"
            f"{', ...' if len(empty) > _SHOWN else ''}."
        )
