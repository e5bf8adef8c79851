"""Where Python integers become tensors: on the device of the module's inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx_graphsurgeon as gs
import torch

from onnxprune.bridge.host_rules import HostType
from onnxprune.ops.base import attribute
from onnxprune.ops.identity import tensor_of
from onnxprune.ops.shape import range_bounds

__all__ = ["maker", "with_tensors"]


def maker(node: gs.Node, kinds: Sequence[HostType | None]) -> Callable[..., torch.Tensor] | None:
    """Returns a function from a node's Python inputs and the device to the tensor that it makes.

    None where the node makes no tensor out of integers alone.
    """
    if not kinds or any(kind is None for kind in kinds) or (node.domain or "") not in ("", "ai.onnx"):
        return None
    if node.op == "Range":
        dtype = kinds[0].dtype  # type: ignore[union-attr]  # there is a first one, and it is no None
        return lambda start, limit, delta, device: torch.arange(
            *range_bounds(start, limit, delta), dtype=dtype, device=device
        )
    if node.op == "ConstantOfShape":
        value = attribute(node, "value")
        fill = torch.zeros(1) if value is None else tensor_of(value.values.reshape(1))
        entry, kept = fill.item(), fill.dtype
        return lambda shape, device: torch.full(shape, entry, dtype=kept, device=device)
    return None


def with_tensors(function: Callable[..., Any], made: Mapping[int, HostType]) -> Callable[..., Any]:
    """Returns `function` for a device and inputs of which those at the places `made` are Python values."""
    places = tuple((place, kind.dtype) for place, kind in made.items())

    def call(device: torch.device, *inputs: Any) -> Any:
        values = list(inputs)
        for place, dtype in places:
            values[place] = torch.tensor(values[place], dtype=dtype, device=device)
        return function(*values)

    return call
