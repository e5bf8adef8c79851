"""Calling the user's code for batches: what it is told, and what is said when it fails."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from onnxprune.core.describe import describe_exception
from onnxprune.core.errors import DataError

__all__ = ["Feed", "call_feed", "epoch_and_seed", "numbered"]

Feed = Callable[..., Any] | Iterable[Any]
"""A function that returns an iterable of batches, or such an iterable, which is gone through once for each epoch."""


def epoch_and_seed(shuffle: np.random.Generator | None) -> tuple[int, int]:
    """Returns what code is told in a pass: e of a generator made from [seed, e], and a number drawn from it.

    Both are 0 without a generator: in the pass that checks, in calibration and in evaluation.
    """
    if shuffle is None:
        return 0, 0
    entropy = getattr(getattr(shuffle.bit_generator, "seed_seq", None), "entropy", None)
    epoch = int(entropy[1]) if isinstance(entropy, Sequence) and len(entropy) == 2 else 0
    return epoch, int(shuffle.integers(2**31))


def call_feed(where: str, feed: Feed, epoch: int, seed: int) -> Iterable[Any]:
    """Returns what code gives for one pass.

    Args:
        where: What messages call the code.
        feed: A function, or an iterable that is returned as it is.
        epoch: Given to a function that takes `epoch`.
        seed: Given to a function that takes `seed`.

    Raises:
        DataError: when the function fails, or gives no iterable of batches.
    """
    if not callable(feed):
        batches = feed
    else:
        try:
            batches = feed(**_keywords(feed, {"epoch": epoch, "seed": seed}))
        except Exception as error:
            raise DataError(f"{where} failed when it was called: {describe_exception(error)}.") from error
    if isinstance(batches, Mapping | str) or not hasattr(batches, "__iter__"):
        hint = " Put it into a list where it is a single batch." if isinstance(batches, Mapping) else ""
        raise DataError(
            f"{where} {'gave' if callable(feed) else 'is'} a {type(batches).__name__}; expected an iterable of "
            f"batches, such as a list or a generator.{hint}"
        )
    return batches


def _keywords(feed: Callable[..., Any], known: dict[str, int]) -> dict[str, int]:
    """Returns those of `known` that a function takes by name."""
    try:
        parameters = inspect.signature(feed).parameters
    except (TypeError, ValueError):  # written in C, without a signature
        return {}
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return known
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {key: value for key, value in known.items() if key in parameters and parameters[key].kind in named}


def numbered(where: str, batches: Iterable[Any]) -> Iterator[tuple[int, Any]]:
    """Yields batches with their numbers, from 1.

    Raises:
        DataError: when the code raises; names the batch.
    """
    number = 1
    iterator = None
    try:
        while True:
            try:
                iterator = iter(batches) if iterator is None else iterator
                batch = next(iterator)
            except StopIteration:
                return
            except Exception as error:
                raise DataError(f"{where} failed in batch {number}: {describe_exception(error)}.") from error
            yield number, batch
            number += 1
    finally:
        if inspect.isgenerator(iterator):  # files that it has open are closed now, not when memory is swept
            iterator.close()
