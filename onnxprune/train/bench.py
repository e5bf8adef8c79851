"""Samples on the bench of a run."""

from __future__ import annotations

from onnxprune.core.errors import InternalError
from onnxprune.core.stage import Bench
from onnxprune.train.samples import Samples

__all__ = ["find_samples", "take_samples"]


def find_samples(bench: Bench, *names: str) -> Samples | None:
    """Returns the first of the named sets that is there, or None."""
    for name in names:
        if name in bench.artifacts:
            return take_samples(bench, name)
    return None


def take_samples(bench: Bench, name: str) -> Samples:
    """Returns the set of samples called `name`.

    Raises:
        InternalError: when it is not there or is none.
    """
    value = bench.artifacts.get(name)
    if not isinstance(value, Samples):
        raise InternalError(f"The run has no samples called {name!r}; it holds {sorted(bench.artifacts)}.")
    return value
