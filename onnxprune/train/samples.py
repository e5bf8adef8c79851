"""What training and evaluation read: batches of samples, wherever they come from.

A set of N samples is read in global batches of B. Of several processes, each takes its part of
every global batch, so that all of them together see what one alone would see.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = ["Batch", "Samples", "describe_samples", "part_of"]

AnyArray = NDArray[Any]


@dataclass(frozen=True)
class Batch:
    """Some samples.

    Attributes:
        inputs: Input name → array [rows, …] in the model's element type and layout.
        labels: int64 [rows], or [rows, …] for dense outputs; any numeric array where a loss of the
            user's reads them; None without labels.
        rows: intp [rows]: positions of the samples in their set, each once in a pass.
    """

    inputs: dict[str, AnyArray]
    labels: AnyArray | None
    rows: NDArray[np.intp]


@runtime_checkable
class Samples(Protocol):
    """A set of samples that fits a model: a `Dataset` or a `Stream`."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided for the user and should be said aloud."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the model inputs that the set serves."""

    @property
    def labelled(self) -> bool:
        """Whether the batches have labels."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes by index, where the source has them."""

    @property
    def stable(self) -> bool:
        """Whether row i is the same sample in every pass, so that what is computed of it can be kept."""

    def __len__(self) -> int:
        """Returns the samples of one pass."""

    def batches(
        self,
        batch_size: int,
        *,
        shuffle: np.random.Generator | None = None,
        drop_last: bool = False,
        skip: int = 0,
        shard: tuple[int, int] = (0, 1),
    ) -> Iterator[Batch]:
        """Yields the whole set, batch by batch.

        Args:
            batch_size: Samples per global batch.
            shuffle: Gives a new order; None keeps the stored one. The training loop draws the order
                of epoch e as `np.random.default_rng([seed, e])`.
            drop_last: Leaves out a last global batch that is smaller.
            skip: Global batches left out at the beginning, for a run that goes on in mid-epoch.
            shard: (rank, processes): yields the rank's contiguous part of every global batch, cut as
                `np.array_split` cuts; a part may be empty where the batch is smaller than the
                number of processes.
        """

    def calibration(self, samples: int, rng: np.random.Generator, batch_size: int = 128) -> tuple[Batch, ...]:
        """Returns batches of up to `samples` samples, drawn without repeats."""

    def first(self, samples: int) -> Batch:
        """Returns the first `samples` samples, or all where there are fewer."""

    def describe(self) -> str:
        """Returns one line for reports: kind of source, samples, labels."""


def part_of(count: int, shard: tuple[int, int]) -> slice:
    """Returns the rows of a batch of `count` that belong to (rank, processes), cut as `np.array_split` cuts."""
    rank, size = shard
    each, more = divmod(count, size)
    start = rank * each + min(rank, more)
    return slice(start, start + each + (rank < more))


def describe_samples(kind: str, samples: int, *, labelled: bool, classes: int) -> str:
    """Returns one line on a set, such as "folder of images: 1,200 samples, labelled, 10 classes"."""
    named = f", {classes:,} class{'' if classes == 1 else 'es'}" if classes else ""
    counted = f"{samples:,} sample{'' if samples == 1 else 's'}"
    return f"{kind}: {counted}, {f'labelled{named}' if labelled else 'without labels'}"
