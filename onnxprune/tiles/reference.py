"""What the block-sparse operators compute, in float64: what kernels and portable bodies are tested against.

Slow and plain on purpose; `onnxprune.tiles.packed` describes values and index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxprune.core.errors import InternalError
from onnxprune.tiles.arrays import Floats, Indices

__all__ = ["block_sparse_conv", "block_sparse_matmul"]


def block_sparse_matmul(
    x: NDArray[Any], values: NDArray[Any], index: Indices, block_k: int, bias: NDArray[Any] | None = None
) -> Floats:
    """Returns y, float64 [..., N].

    Args:
        x: [..., K]. Where K is no multiple of `block_k`, what the last block lacks counts as zero.
        values: [G, R, T].
        index: int64 [G, R / block_k].
        block_k: Inputs in a block.
        bias: [N], at most G·T outputs; cuts the outputs to its length. None keeps all G·T.

    Raises:
        InternalError: when shapes do not fit or a block lies outside x.
    """
    tiles, rows, tile = values.shape
    _check(index, tiles, rows, block_k, x.shape[-1])
    padded = _padded(np.asarray(x, dtype=np.float64), -1, block_k)
    wide = np.asarray(values, dtype=np.float64)
    y = np.zeros((*x.shape[:-1], tiles * tile))
    for g in range(tiles):
        y[..., g * tile : (g + 1) * tile] = padded[..., _channels(index[g], block_k)] @ wide[g]
    return y if bias is None else y[..., : len(bias)] + np.asarray(bias, dtype=np.float64)


def block_sparse_conv(
    x: NDArray[Any],
    values: NDArray[Any],
    index: Indices,
    block_c: int,
    bias: NDArray[Any] | None = None,
    *,
    strides: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
) -> Floats:
    """Returns y, float64 [batch, N, spatial...].

    Args:
        x: [batch, C, spatial...].
        values: [G·T, R, kernel...]; G is that of `index`.
        index: int64 [G, R / block_c].
        block_c: Input channels in a block.
        bias: [N], at most G·T outputs; cuts the outputs to its length. None keeps all G·T.
        strides: One for each spatial axis; ones by default.
        pads: Begins, then ends, as ONNX has them; zeros by default.
        dilations: One for each spatial axis; ones by default.

    Raises:
        InternalError: when shapes do not fit or a block lies outside x.
    """
    tiles, rows, kernel = len(index), values.shape[1], values.shape[2:]
    axes = len(kernel)
    strides, dilations = strides or [1] * axes, dilations or [1] * axes
    pads = pads or [0] * (2 * axes)
    _check(index, tiles, rows, block_c, x.shape[1])
    around = [(0, 0), (0, 0), *zip(pads[:axes], pads[axes:], strict=True)]
    padded = np.pad(_padded(np.asarray(x, dtype=np.float64), 1, block_c), around)
    wide = np.asarray(values, dtype=np.float64).reshape(tiles, len(values) // tiles, rows, *kernel)
    sizes = [(padded.shape[2 + a] - dilations[a] * (kernel[a] - 1) - 1) // strides[a] + 1 for a in range(axes)]
    y = np.zeros((x.shape[0], tiles, wide.shape[1], *sizes))
    for tap in np.ndindex(*kernel):
        window = tuple(
            slice(tap[a] * dilations[a], tap[a] * dilations[a] + (sizes[a] - 1) * strides[a] + 1, strides[a])
            for a in range(axes)
        )
        seen = padded[(slice(None), slice(None), *window)]
        for g in range(tiles):
            y[:, g] += np.einsum(
                "bc...,tc->bt...", seen[:, _channels(index[g], block_c)], wide[(g, slice(None), slice(None), *tap)]
            )
    flat = y.reshape(len(x), len(values), *sizes)
    if bias is None:
        return flat
    return flat[:, : len(bias)] + np.asarray(bias, dtype=np.float64).reshape(-1, *[1] * axes)


def _channels(blocks: Indices, block: int) -> Indices:
    """The inputs in the given blocks."""
    return (blocks[:, None] * block + np.arange(block)).reshape(-1)


def _padded(x: Floats, axis: int, block: int) -> Floats:
    """x with zeros up to a whole number of blocks."""
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, -x.shape[axis] % block)
    return np.pad(x, widths)


def _check(index: Indices, tiles: int, rows: int, block: int, inputs: int) -> None:
    if index.shape != (tiles, rows // block) or rows % block:
        raise InternalError(
            f"an index of {index.shape} does not fit {tiles} tiles of {rows} inputs in blocks of {block}"
        )
    if index.size and (index.min() < 0 or index.max() * block >= inputs):
        raise InternalError(f"the index names block {index.max()}, but {inputs} inputs end before")
