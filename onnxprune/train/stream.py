"""Samples that the user's own code gives, batch by batch.

The code's batches may have any sizes: rows are buffered and cut anew into the batches that
training asks for. One pass at opening checks and counts everything; every later pass is checked,
too, and has to give as many samples again, since the steps of training are planned by that number.
A pass that gives more is cut off there.

For epoch e the training loop draws from `np.random.default_rng([seed, e])`. A stream has an
order of its own; it reads e from that generator and draws from it the `seed` that the code may
ask for, so a run that is resumed gets the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxprune.core.errors import DataError
from onnxprune.graph import TensorSpec
from onnxprune.train.columns import Normalization
from onnxprune.train.feed import Feed, call_feed, epoch_and_seed, numbered
from onnxprune.train.label_checks import LabelKind
from onnxprune.train.samples import Batch, describe_samples, part_of
from onnxprune.train.stream_batches import BatchReader, Rows

__all__ = ["Stream", "open_stream"]


@dataclass(frozen=True)
class Stream:
    """Samples that come in the order of the user's code.

    Attributes:
        where: What messages call the code.
        feed: A function that returns an iterable of batches, or an iterable.
        reader: Makes of a batch what the model reads.
        samples: How many a pass gives.
        notes: What was decided for the user and should be said aloud.
        first_rows: No rows, of the shapes that all rows have.
    """

    where: str
    feed: Feed
    reader: BatchReader
    samples: int
    notes: tuple[str, ...]
    first_rows: Rows

    def __len__(self) -> int:
        return self.samples

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the model inputs that the set serves."""
        return tuple(self.first_rows.inputs)

    @property
    def labelled(self) -> bool:
        """Whether the batches have labels."""
        return self.first_rows.labels is not None

    @property
    def classes(self) -> tuple[str, ...]:
        """Empty: code gives class indices."""
        return ()

    @property
    def stable(self) -> bool:
        """False: the code may shuffle and augment."""
        return False

    def batches(
        self,
        batch_size: int,
        *,
        shuffle: np.random.Generator | None = None,
        drop_last: bool = False,
        skip: int = 0,
        shard: tuple[int, int] = (0, 1),
    ) -> Iterator[Batch]:
        """Yields one pass; see `Samples.batches`. The order is that of the code.

        Raises:
            DataError: when the code fails, a batch does not fit, or fewer samples come than at opening.
        """
        stop = self.samples - self.samples % batch_size if drop_last else self.samples
        start = 0
        for rows in _cut(self._rows(shuffle), batch_size, stop):
            positions = np.arange(start, start + len(rows), dtype=np.intp)
            start += len(rows)
            if start > skip * batch_size:
                part = part_of(len(rows), shard)
                yield rows[part].batch(positions[part])

    def calibration(self, samples: int, rng: np.random.Generator, batch_size: int = 128) -> tuple[Batch, ...]:
        """Returns batches of up to `samples` samples, drawn without repeats from one pass."""
        drawn = np.sort(rng.permutation(self.samples)[:samples]).astype(np.intp)
        if not len(drawn):
            return ()
        picked = _pick(self._rows(None), drawn)
        starts = range(0, len(drawn), batch_size)
        return tuple(
            picked[slice(start, start + batch_size)].batch(drawn[start : start + batch_size]) for start in starts
        )

    def first(self, samples: int) -> Batch:
        """Returns the first `samples` samples of a pass, or all where there are fewer."""
        positions = np.arange(min(samples, self.samples), dtype=np.intp)
        return _pick(self._rows(None), positions).batch(positions)

    def describe(self) -> str:
        """Returns one line for reports: kind of source, samples, labels."""
        return describe_samples("batches of the user's code", self.samples, labelled=self.labelled, classes=0)

    def _rows(self, shuffle: np.random.Generator | None) -> Iterator[Rows]:
        """Yields the code's own batches, checked and converted, until all samples are there."""
        seen = 0
        batches = call_feed(self.where, self.feed, *epoch_and_seed(shuffle))
        for number, batch in numbered(self.where, batches):
            rows = self.reader.read(number, batch)
            self.reader.check_alike(number, rows, self.first_rows)
            rows = rows[slice(0, self.samples - seen)]
            seen += len(rows)
            yield rows
            if seen == self.samples:
                return
        hint = (
            "It seems to hand out an iterator that is used up: make a new one in each call."
            if seen == 0
            else "Every pass has to give as many samples as the first."
        )
        raise DataError(
            f"{self.where} gave {seen:,} samples in this pass, and {self.samples:,} when it was opened. {hint}"
        )


def open_stream(
    where: str,
    feed: Feed,
    inputs: Sequence[TensorSpec],
    *,
    normalization: Normalization,
    outputs: Sequence[TensorSpec] = (),
    labels: LabelKind = "classes",
) -> Stream:
    """Returns a stream after one full pass, in which every batch is checked.

    Args:
        where: What messages call the code.
        feed: A function that returns an iterable of batches, or an iterable that can be gone through
            again and again. A function that takes `epoch` or `seed` is given them by name.
        inputs: The model's inputs.
        normalization: For uint8 images.
        outputs: The model's outputs; labels are checked against them.
        labels: What labels are.

    Raises:
        DataError: when the code fails, gives nothing, or can be gone through only once; when a batch
            does not fit the model.
    """
    reader = BatchReader(where, tuple(inputs), normalization, tuple(outputs), labels)
    first: Rows | None = None
    notes: tuple[str, ...] = ()
    samples = 0
    batches = call_feed(where, feed, 0, 0)
    for number, batch in numbered(where, batches):
        rows = reader.read(number, batch)
        if first is None:
            first, notes = rows[slice(0, 0)], rows.notes
        reader.check_alike(number, rows, first)
        samples += len(rows)
    if first is None or samples == 0:
        raise DataError(f"{where} gives no samples. Give an iterable of at least one batch that is not empty.")
    if iter(batches) is batches and (not callable(feed) or call_feed(where, feed, 0, 0) is batches):
        raise DataError(
            f"{where} hands out one iterator ({type(batches).__name__}), which is used up after one pass, and every "
            "epoch needs another. Make a new one in each call: write a function that yields batches."
        )
    told = f"{where}: {samples:,} samples in batches of the user's code; their order is its own."
    return Stream(where, feed, reader, samples, (told, *notes), first)


def _cut(source: Iterator[Rows], batch_size: int, stop: int) -> Iterator[Rows]:
    """Yields the first `stop` rows in batches of `batch_size`, the last of which may be smaller."""
    waiting: list[Rows] = []
    held = done = 0
    for rows in source:
        waiting.append(rows)
        held += len(rows)
        while done < stop and held >= min(batch_size, stop - done):
            size = min(batch_size, stop - done)
            joined = Rows.join(waiting)
            yield joined[slice(0, size)]
            waiting, held, done = [joined[slice(size, None)]], held - size, done + size


def _pick(source: Iterator[Rows], positions: NDArray[np.intp]) -> Rows:
    """Returns the rows at sorted positions; reads no further than the last of them."""
    parts: list[Rows] = []
    seen = found = 0
    for rows in source:
        inside = positions[found : np.searchsorted(positions, seen + len(rows))] - seen
        parts.append(rows[inside])
        seen, found = seen + len(rows), found + len(inside)
        if found == len(positions):
            break
    return Rows.join(parts)
