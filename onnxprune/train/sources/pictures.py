"""Many pictures as one array: decoded once at opening, so that damaged ones are found before training.

What fits is kept; what does not is decoded again batch by batch, by as many threads as there are
cores (Pillow's decoders run side by side).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from onnxprune.core.errors import DataError
from onnxprune.train.sources.picture import (
    PICTURE_ERRORS,
    Decoded,
    PictureFile,
    PictureRule,
    decode,
    oriented_size,
)
from onnxprune.train.stored import Stored

__all__ = ["KEPT_BYTES", "LazyPictures", "OpenedPictures", "Pictures", "common_size", "open_pictures"]

KEPT_BYTES = 2**30
"""Bytes of decoded pictures of one source that are kept in memory."""

T = TypeVar("T")
_BLOCK = 1024
_SHOWN = 3
_MOST_THREADS = 16


class Pictures(Protocol):
    """Where pictures come from."""

    def __len__(self) -> int:
        """Returns how many there are."""

    def open(self, index: int) -> PictureFile:
        """Returns a picture's file; raises one of PICTURE_ERRORS where there is none."""

    def name(self, index: int) -> str:
        """Returns what messages call a picture."""


@dataclass(frozen=True)
class OpenedPictures:
    """Pictures that can be decoded.

    Attributes:
        array: uint8 [pictures, *rule.shape].
        rows: intp: which of the pictures these are, without the damaged ones.
        notes: What the user should know.
    """

    array: Stored
    rows: NDArray[np.intp]
    notes: tuple[str, ...]


class LazyPictures:
    """Pictures that are decoded when a batch asks for them.

    Args:
        where: What messages call the source.
        pictures: Where they come from.
        rows: Which of them.
        rule: What they become.
    """

    dtype: np.dtype[Any] = np.dtype(np.uint8)

    def __init__(self, where: str, pictures: Pictures, rows: NDArray[np.intp], rule: PictureRule) -> None:
        self._where, self._pictures, self._rows, self._rule = where, pictures, rows, rule

    @property
    def shape(self) -> tuple[int, ...]:
        """[pictures, *rule.shape]."""
        return (len(self._rows), *self._rule.shape)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: Any, /) -> NDArray[np.uint8]:
        """Returns the pictures of a slice or of positions.

        Raises:
            DataError: when one that could be read when the data was opened no longer can.
        """
        chosen = self._rows[rows]
        pixels = np.empty((len(chosen), *self._rule.shape), np.uint8)

        def fill(position: int) -> None:
            index = int(chosen[position])
            try:
                pixels[position] = decode(self._pictures.open(index), self._rule).pixels
            except PICTURE_ERRORS as error:
                raise DataError(
                    f"{self._where}: image {self._pictures.name(index)!r} could be read when the data was opened and "
                    f"no longer can: {_reason(error)}. Leave the data alone while it is used."
                ) from error

        for _ in self._pool.map(fill, range(len(chosen))):
            pass
        return pixels

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_threads(), "onnxprune-images")


def common_size(where: str, pictures: Pictures, *, skip_corrupt: bool) -> tuple[int, int]:
    """Returns the height and width that all pictures have.

    Raises:
        DataError: when they differ, or one is damaged and `skip_corrupt` is off.
    """
    sizes: dict[tuple[int, int], int] = {}
    bad: list[tuple[int, str]] = []
    for index, found in _each(len(pictures), lambda index: oriented_size(pictures.open(index))):
        if isinstance(found, str):
            bad.append((index, found))
        else:
            sizes[found] = sizes.get(found, 0) + 1
    _check_bad(where, pictures, bad, skip_corrupt=skip_corrupt)
    if len(sizes) > 1:
        most = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN]
        listed = ", ".join(f"{count:,} of {height} x {width}" for (height, width), count in most)
        raise DataError(
            f"{where}: the model takes images of any size, and these have {len(sizes):,} sizes (height x width: "
            f"{listed}{', ...' if len(sizes) > len(most) else ''}). A batch needs one: give image_size (--image-size), "
            "such as 224 or 224,320."
        )
    return next(iter(sizes))


def open_pictures(where: str, pictures: Pictures, rule: PictureRule, *, skip_corrupt: bool) -> OpenedPictures:
    """Decodes all pictures once.

    Args:
        where: What messages call the source.
        pictures: At least one.
        rule: What they become.
        skip_corrupt: Leaves damaged ones out, with a note.

    Raises:
        DataError: when pictures are damaged and `skip_corrupt` is off, or all are.
    """
    keep = len(pictures) * int(np.prod(rule.shape)) <= KEPT_BYTES
    kept = np.empty((len(pictures) if keep else 0, *rule.shape), np.uint8)
    rows: list[int] = []
    bad: list[tuple[int, str]] = []
    resized = transparent = 0

    def look(index: int) -> Decoded:
        return decode(pictures.open(index), rule)

    for index, found in _each(len(pictures), look):
        if isinstance(found, str):
            bad.append((index, found))
            continue
        if keep:
            kept[len(rows)] = found.pixels
        rows.append(index)
        resized += found.resized
        transparent += found.transparent
    notes = [*_check_bad(where, pictures, bad, skip_corrupt=skip_corrupt), *_told(where, rule, resized, transparent)]
    chosen = np.array(rows, np.intp)
    array: Stored = kept[: len(rows)] if keep else LazyPictures(where, pictures, chosen, rule)
    if not keep:
        notes.append(f"{where}: the images are decoded batch by batch, since they would fill more than 1 GiB.")
    return OpenedPictures(array, chosen, tuple(notes))


def _each(count: int, look: Callable[[int], T]) -> Iterator[tuple[int, T | str]]:
    """Yields every index with what `look` gives for it, or with the reason why it fails."""

    def tried(index: int) -> T | str:
        try:
            return look(index)
        except PICTURE_ERRORS as error:
            return _reason(error)

    with ThreadPoolExecutor(_threads(), "onnxprune-images") as pool:
        # in blocks, so that millions of images are not millions of futures, and Ctrl-C is quick
        for start in range(0, count, _BLOCK):
            block = range(start, min(start + _BLOCK, count))
            yield from zip(block, pool.map(tried, block), strict=True)


def _threads() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MOST_THREADS)


def _reason(error: BaseException) -> str:
    """An exception in a few words; Pillow names a file by its object where it was given one."""
    text = " ".join(str(error).split()).rstrip(".")
    if text.startswith("cannot identify image file"):
        return "no image of a known format"
    return text or type(error).__name__


def _check_bad(
    where: str, pictures: Pictures, bad: Sequence[tuple[int, str]], *, skip_corrupt: bool
) -> tuple[str, ...]:
    if not bad:
        return ()
    listed = "; ".join(f"{pictures.name(index)!r}: {reason}" for index, reason in bad[:_SHOWN])
    more = f"; and {len(bad) - _SHOWN:,} more" if len(bad) > _SHOWN else ""
    said = f"{len(bad):,} of {len(pictures):,} images cannot be read ({listed}{more})"
    if not skip_corrupt or len(bad) == len(pictures):
        hint = "Repair or remove them" + (
            "." if len(bad) == len(pictures) else ", or leave them out with skip_corrupt (--skip-corrupt)."
        )
        raise DataError(f"{where}: {said}. {hint}")
    return (f"{where}: {said}; they are left out.",)


def _told(where: str, rule: PictureRule, resized: int, transparent: int) -> Iterator[str]:
    if resized:
        yield (
            f"{where}: {resized:,} image{'s are' if resized > 1 else ' is'} resized to {rule.height} x {rule.width} "
            "(height x width): the shortest side is scaled to fit, and the middle is cut out."
        )
    if transparent:
        yield (
            f"{where}: {transparent:,} image{'s have' if transparent > 1 else ' has'} transparency, which is dropped; "
            "the colour under it is kept."
        )
