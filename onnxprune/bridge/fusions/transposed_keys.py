"""Keys transposed by way of three axes, as PyTorch's exporter writes kᵀ for attention.

Reshape to [-1, length, width], Transpose, Reshape back copies the keys. Where the two shapes say
that, the last two axes are exchanged instead, without a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_graphsurgeon as gs
import torch

from onnxprune.bridge.fusions.pattern import Fused, GraphView
from onnxprune.ops.base import attribute
from onnxprune.ops.plain_ints import PlainInts, ints

__all__ = ["fuse_transposed_keys"]


def fuse_transposed_keys(node: gs.Node, view: GraphView) -> Fused | None:
    """Reshape(Transpose(Reshape(k, first), [0, 2, 1]), second)."""
    if node.op != "Reshape":
        return None
    transpose = view.producer(node.inputs[0], "Transpose")
    if transpose is None or list(attribute(transpose, "perm", [])) != [0, 2, 1]:
        return None
    reshape = view.producer(transpose.inputs[0], "Reshape")
    if reshape is None:
        return None
    names = (reshape.inputs[0].name, reshape.inputs[1].name, node.inputs[1].name)
    keep_zero = tuple(bool(attribute(member, "allowzero", 0)) for member in (reshape, node))
    return Fused((node, transpose, reshape), names, _exchange(*keep_zero), plain=(1, 2))


def _exchange(keep_first: bool, keep_second: bool) -> Callable[..., torch.Tensor]:
    def exchange(keys: torch.Tensor, first: PlainInts | torch.Tensor, second: PlainInts | torch.Tensor) -> torch.Tensor:
        flat, back = ints(first), ints(second)
        if keys.dim() > 2:
            *outer, length, width = keys.shape
            if _says(flat, [-1, length, width]) and _says(back, [*outer, width, length]):
                return keys.transpose(-2, -1)
        turned = _reshape(keys, flat, keep_first).transpose(1, 2)
        return _reshape(turned, back, keep_second)

    return exchange


def _says(shape: Sequence[int], sizes: Sequence[int]) -> bool:
    return len(shape) == len(sizes) and all(a in (b, -1) for a, b in zip(shape, sizes, strict=True))


def _reshape(x: torch.Tensor, shape: Sequence[int], keep_zero: bool) -> torch.Tensor:
    return x.reshape([x.shape[i] if size == 0 and not keep_zero else size for i, size in enumerate(shape)])
