"""What a module gives, in the order of an ONNX model's outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from onnxprune.core.errors import DataError

__all__ = ["flat_outputs"]


def flat_outputs(found: Any, kind: str) -> Iterator[tuple[str, Tensor]]:
    """Yields the tensors that a module gives, each with its key where `found` is a mapping, else with "".

    Args:
        found: What `forward` returned. None among it is left out.
        kind: What messages call the module.

    Raises:
        DataError: when something else than a tensor is among it.
    """
    if isinstance(found, Mapping):
        for key, value in found.items():
            for _, tensor in flat_outputs(value, kind):
                yield str(key) if isinstance(value, Tensor) else "", tensor
    elif isinstance(found, Tensor):
        yield "", found
    elif isinstance(found, Sequence) and not isinstance(found, str):
        for value in found:
            yield from (("", tensor) for _, tensor in flat_outputs(value, kind))
    elif found is not None:
        raise DataError(
            f"{kind} gives a {type(found).__name__}; expected tensors, or tuples, lists and mappings of them."
        )
