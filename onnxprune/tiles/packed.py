"""Packed weights: balanced tiles stored dense.

With G tiles of T outputs, r kept blocks of bk inputs in each and R = r·bk:

    MatMul   values [G, R, T]          y[g·T + t] = Σ_{j < r} Σ_{b < bk} x[index[g, j]·bk + b] · values[g, j·bk + b, t]
    Conv     values [G·T, R, kh, kw]   output channel g·T + t reads the input channels of its tile's blocks

index is int64 [G, r], ascending in each tile. Where K or N is no multiple of bk or T, weights are padded with
zeros: inputs K and up do not exist, their values are zero; outputs N and up are zero and are to be cut off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxprune.core.errors import InternalError
from onnxprune.tiles.arrays import Indices, Mask
from onnxprune.tiles.pattern import cell_count

__all__ = ["Packed", "pack", "pack_conv", "unpack", "unpack_conv"]


@dataclass(frozen=True, eq=False)
class Packed:
    """A block-sparse weight.

    Attributes:
        values: Of the weight's dtype, [G, R, T] of a MatMul or [G·T, R, kh, kw] of a Conv.
        index: Kept blocks of each tile, int64 [G, r], ascending.
        block: bk, inputs in a block.
        tile: T, outputs in a tile.
        inputs: K, without padding.
        outputs: N, without padding.
    """

    values: NDArray[Any]
    index: Indices
    block: int
    tile: int
    inputs: int
    outputs: int


def pack(weight: NDArray[Any], choice: Mask, block: int, tile: int) -> Packed:
    """Returns a MatMul's weight in packed form.

    Args:
        weight: [K, N], inputs and outputs in the order in which blocks and tiles are cut.
        choice: Kept blocks, bool [ceil(K / block), ceil(N / tile)], as many in each tile.
        block: bk.
        tile: T.

    Raises:
        InternalError: when the choice does not have this shape, or tiles keep different numbers of blocks.
    """
    values, index = _gathered(weight[:, :, None], choice, block, tile)
    return Packed(values[..., 0], index, block, tile, weight.shape[0], weight.shape[1])


def pack_conv(weight: NDArray[Any], choice: Mask, block: int, tile: int) -> Packed:
    """Returns a Conv's weight in packed form, laid out as that of a grouped convolution of G groups.

    Args:
        weight: [N, K, kh, kw], or any number of kernel axes.
        choice: As `pack` takes it.
        block: bk, input channels in a block.
        tile: T, output channels in a tile.

    Raises:
        InternalError: as `pack`.
    """
    outputs, inputs, *taps = weight.shape
    values, index = _gathered(np.swapaxes(weight, 0, 1).reshape(inputs, outputs, -1), choice, block, tile)
    tiles, rows = values.shape[:2]
    grouped = values.transpose(0, 2, 1, 3).reshape(tiles * tile, rows, *taps)
    return Packed(np.ascontiguousarray(grouped), index, block, tile, inputs, outputs)


def unpack(packed: Packed) -> NDArray[Any]:
    """Returns the dense weight of a MatMul, [K, N], with zeros where blocks were pruned."""
    return _scattered(packed, packed.values[..., None])[:, :, 0]


def unpack_conv(packed: Packed) -> NDArray[Any]:
    """Returns the dense weight of a Conv, [N, K, kh, kw], with zeros where blocks were pruned."""
    taps = packed.values.shape[2:]
    rows = packed.values.shape[1]
    split = packed.values.reshape(-1, packed.tile, rows, int(np.prod(taps))).transpose(0, 2, 1, 3)
    dense = np.swapaxes(_scattered(packed, split), 0, 1)
    return np.ascontiguousarray(dense).reshape(packed.outputs, packed.inputs, *taps)


def _gathered(weight: NDArray[Any], choice: Mask, block: int, tile: int) -> tuple[NDArray[Any], Indices]:
    """Values [G, R, T, taps] and index [G, r] of a weight [K, N, taps]."""
    inputs, outputs, taps = weight.shape
    blocks, tiles = cell_count(inputs, block), cell_count(outputs, tile)
    if choice.shape != (blocks, tiles):
        raise InternalError(f"a weight of {inputs} x {outputs} has {blocks} x {tiles} blocks, not {choice.shape}")
    kept = np.unique(choice.sum(axis=0))
    if len(kept) != 1:
        raise InternalError(f"tiles keep from {kept[0]} to {kept[-1]} blocks; split them by `split_tiles` first")
    index = np.nonzero(choice.T)[1].reshape(tiles, -1).astype(np.int64)
    padded = np.pad(weight, ((0, blocks * block - inputs), (0, tiles * tile - outputs), (0, 0)))
    cut = padded.reshape(blocks, block, tiles, tile, taps).transpose(2, 0, 1, 3, 4)
    values = cut[np.arange(tiles)[:, None], index]
    return values.reshape(tiles, -1, tile, taps), index


def _scattered(packed: Packed, values: NDArray[Any]) -> NDArray[Any]:
    """The dense weight [K, N, taps] of values [G, R, T, taps]."""
    tiles, kept = packed.index.shape
    blocks, taps = cell_count(packed.inputs, packed.block), values.shape[3]
    dense = np.zeros((tiles, blocks, packed.block, packed.tile, taps), dtype=values.dtype)
    dense[np.arange(tiles)[:, None], packed.index] = values.reshape(tiles, kept, packed.block, packed.tile, taps)
    whole = dense.transpose(1, 2, 0, 3, 4).reshape(blocks * packed.block, tiles * packed.tile, taps)
    return whole[: packed.inputs, : packed.outputs]
