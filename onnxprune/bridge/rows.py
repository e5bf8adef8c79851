"""Linear layers as matrix products: Y = X W + b, with rows sampled from what the layer sees.

A row is one place where the layer is applied: an output position of a convolution, a token, a
sample. X is float64 [group, rows, columns] with columns (channel in its group, kernel tap), W
float64 [group, columns, outputs], Y float64 [group, rows, outputs]; output channel o of the
layer is output o mod outputs of group o // outputs.

A convolution with stride s, dilation d and padding p reads x[s·q − p + d·k] at position q and
tap k. A transposed one is that of stride 1 over x with s − 1 zeros between neighbours, padded
by d (k_max − 1) and with its kernel reversed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from onnxprune.bridge.linear import LinearLayer
from onnxprune.ops.base import attribute
from onnxprune.ops.spatial import flat_pads, window

__all__ = ["column_count", "from_matrix", "layer_rows", "to_matrix"]

Float64 = NDArray[np.float64]


def column_count(layer: LinearLayer) -> int:
    """Returns the number of columns of X: input channels of a group times kernel taps."""
    shape = [int(n) for n in layer.node.inputs[layer.slot].shape]
    if layer.node.op == "Conv":
        return math.prod(shape[1:])
    if layer.node.op == "ConvTranspose":
        return shape[0] // layer.group * math.prod(shape[2:])
    if layer.node.op == "Gemm":
        return shape[1 if attribute(layer.node, "transB", 0) else 0]
    return shape[1 - layer.slot]


def to_matrix(layer: LinearLayer, weight: NDArray[Any]) -> Float64:
    """Returns the layer's weight as W: float64 [group, columns, outputs]."""
    wide, group = weight.astype(np.float64), layer.group
    if layer.node.op == "Conv":
        return wide.reshape(group, wide.shape[0] // group, -1).transpose(0, 2, 1)
    if layer.node.op == "ConvTranspose":
        blocks = np.flip(wide, tuple(range(2, wide.ndim))).reshape(group, -1, *wide.shape[1:])
        return np.moveaxis(blocks, 2, -1).reshape(group, -1, wide.shape[1])
    if layer.node.op == "Gemm":
        alpha = float(attribute(layer.node, "alpha", 1.0))
        return alpha * (wide.T if attribute(layer.node, "transB", 0) else wide)[None]
    return (wide.T if layer.slot == 0 else wide)[None]


def from_matrix(layer: LinearLayer, matrix: Float64, shape: Sequence[int]) -> Float64:
    """Returns W in the form in which the layer keeps it: float64 of `shape`; undoes `to_matrix`."""
    if layer.node.op == "Conv":
        return matrix.transpose(0, 2, 1).reshape(shape)
    if layer.node.op == "ConvTranspose":
        blocks = matrix.reshape(layer.group, shape[0] // layer.group, *shape[2:], shape[1])
        return np.flip(np.moveaxis(blocks, -1, 2).reshape(shape), tuple(range(2, len(shape))))
    if layer.node.op == "Gemm":
        plain: Float64 = matrix[0] / float(attribute(layer.node, "alpha", 1.0))
        return plain.T if attribute(layer.node, "transB", 0) else plain
    only: Float64 = matrix[0]
    return only.T if layer.slot == 0 else only


def layer_rows(
    layer: LinearLayer, x: torch.Tensor, y: torch.Tensor, count: int, rng: np.random.Generator
) -> tuple[Float64, Float64]:
    """Returns up to `count` rows X, and the same rows of `y`.

    Args:
        layer: The layer.
        x: What it reads.
        y: A tensor of the shape of what it computes, such as its target.
        count: Rows to draw, without repeats.
        rng: Draws them.

    Returns:
        float64 [group, rows, columns] and [group, rows, outputs].
    """
    if layer.node.op in ("Conv", "ConvTranspose"):
        return _window_rows(layer, x, y, count, rng)
    if layer.channel_axis == -2:
        x, y = (t.reshape(-1, 1) if t.dim() == 1 else t for t in (x, y))
        x, y = x.transpose(-1, -2), y.transpose(-1, -2)
    rows, aims = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
    drawn = torch.from_numpy(_draw(len(rows), count, rng))
    return _wide(rows[drawn])[None], _wide(aims[drawn])[None]


def _window_rows(
    layer: LinearLayer, x: torch.Tensor, y: torch.Tensor, count: int, rng: np.random.Generator
) -> tuple[Float64, Float64]:
    windows = _windows(layer, x, y.shape[2:])
    places = (x.shape[0], *y.shape[2:])
    drawn = np.unravel_index(_draw(math.prod(places), count, rng), places)
    index = tuple(torch.from_numpy(np.ascontiguousarray(part)) for part in drawn)
    rows = windows[index]
    aims = y.movedim(1, -1)[index]
    group, rank = layer.group, y.dim() - 2
    grouped = rows.reshape(len(rows), group, rows.shape[1] // group * math.prod(rows.shape[-rank:]))
    return (
        _wide(grouped).transpose(1, 0, 2),
        _wide(aims.reshape(len(aims), group, -1)).transpose(1, 0, 2),
    )


def _windows(layer: LinearLayer, x: torch.Tensor, sizes: Sequence[int]) -> torch.Tensor:
    """What each output position sees, as a view: [batch, positions…, channels, taps…]."""
    kernel = [int(n) for n in layer.node.inputs[layer.slot].shape][2:]
    win, rank = window(layer.node, kernel), len(kernel)
    if layer.node.op == "Conv":
        before, after = win.padding(x.shape[2:])
        steps = win.strides
    else:
        x, cut = _spread(x, win.strides), win.padding(x.shape[2:])[0]
        before = [d * (k - 1) - c for d, k, c in zip(win.dilations, kernel, cut, strict=True)]
        after = [
            max(0, n + d * (k - 1) - b - have)
            for n, d, k, b, have in zip(sizes, win.dilations, kernel, before, x.shape[2:], strict=True)
        ]
        steps = (1,) * rank
    padded = F.pad(x, flat_pads(before, after)).contiguous()
    strides = padded.stride()
    return padded.as_strided(
        (x.shape[0], *sizes, x.shape[1], *kernel),
        (
            strides[0],
            *(s * step for s, step in zip(strides[2:], steps, strict=True)),
            strides[1],
            *(s * d for s, d in zip(strides[2:], win.dilations, strict=True)),
        ),
    )


def _spread(x: torch.Tensor, steps: Sequence[int]) -> torch.Tensor:
    """x with step − 1 zeros between neighbours along each spatial axis."""
    wide = x.new_zeros((*x.shape[:2], *(s * (n - 1) + 1 for s, n in zip(steps, x.shape[2:], strict=True))))
    places: list[Any] = [slice(None), slice(None), *(slice(None, None, s) for s in steps)]
    wide[tuple(places)] = x
    return wide


def _draw(available: int, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    if count >= available:
        return np.arange(available, dtype=np.intp)
    return np.sort(rng.choice(available, count, replace=False)).astype(np.intp)


def _wide(tensor: torch.Tensor) -> Float64:
    return tensor.double().cpu().numpy()
