"""Samples with random access: arrays in memory, mapped files, folders of images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxprune.train.columns import Column
from onnxprune.train.samples import Batch, describe_samples, part_of

__all__ = ["Dataset"]


@dataclass(frozen=True)
class Dataset:
    """Samples that fit a model, each of which can be had at any time.

    Attributes:
        columns: One per model input.
        labels: int64 [samples] or [samples, …], or any numeric array [samples, …]; None without.
        notes: What was decided for the user and should be said aloud.
        rows: intp: the samples of the columns that belong to this set.
        classes: Names of the classes by index, where the source has them.
        kind: What the samples were read from, for reports.
    """

    columns: tuple[Column, ...]
    labels: NDArray[Any] | None
    notes: tuple[str, ...] = ()
    rows: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, np.intp))
    classes: tuple[str, ...] = ()
    kind: str = "arrays"

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the model inputs that the set serves."""
        return tuple(column.name for column in self.columns)

    @property
    def labelled(self) -> bool:
        """Whether the batches have labels."""
        return self.labels is not None

    @property
    def stable(self) -> bool:
        """True: row i is always the same sample."""
        return True

    def batch(self, positions: NDArray[np.intp]) -> Batch:
        """Returns the samples at the given positions of this set, in that order."""
        rows = self.rows[positions]
        labels = None if self.labels is None else self.labels[rows]
        return Batch({column.name: column.take(rows) for column in self.columns}, labels, positions)

    def batches(
        self,
        batch_size: int,
        *,
        shuffle: np.random.Generator | None = None,
        drop_last: bool = False,
        skip: int = 0,
        shard: tuple[int, int] = (0, 1),
    ) -> Iterator[Batch]:
        """Yields the whole set, batch by batch; see `Samples.batches`."""
        order = np.arange(len(self), dtype=np.intp)
        if shuffle is not None:
            shuffle.shuffle(order)
        stop = len(order) - len(order) % batch_size if drop_last else len(order)
        for start in range(skip * batch_size, stop, batch_size):
            positions = order[start : start + batch_size]
            yield self.batch(positions[part_of(len(positions), shard)])

    def calibration(self, samples: int, rng: np.random.Generator, batch_size: int = 128) -> tuple[Batch, ...]:
        """Returns batches of up to `samples` samples, drawn without repeats."""
        drawn = rng.permutation(len(self))[:samples].astype(np.intp)
        return tuple(self.batch(drawn[start : start + batch_size]) for start in range(0, len(drawn), batch_size))

    def first(self, samples: int) -> Batch:
        """Returns the first `samples` samples, or all where there are fewer."""
        return self.batch(np.arange(min(samples, len(self)), dtype=np.intp))

    def describe(self) -> str:
        """Returns one line for reports: kind of source, samples, labels."""
        return describe_samples(self.kind, len(self), labelled=self.labelled, classes=len(self.classes))

    def split(self, share: float, rng: np.random.Generator) -> tuple[Dataset, Dataset]:
        """Returns two disjoint sets, the second with `share` of the samples (at least one)."""
        order = rng.permutation(len(self))
        count = min(max(round(len(self) * share), 1), len(self) - 1)
        first, second = np.sort(order[count:]), np.sort(order[:count])
        return replace(self, rows=self.rows[first]), replace(self, rows=self.rows[second])
