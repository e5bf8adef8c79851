"""What a density of balanced tiles costs and keeps, for those who allot densities.

With KB = ceil(K / bk) blocks and G = ceil(N / T) tiles, density d keeps r = max(1, ⌊d·KB⌋) blocks per tile, and

    weights  G · r·bk · T · taps        bytes  weights · itemsize + 8 · G · r
    MACs     weights · positions,

padding included, because it is stored and computed. The curve of kept mass over r takes one sort: the blocks of
each tile in descending order, summed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxprune.core.errors import InternalError
from onnxprune.tiles.arrays import Floats, Indices
from onnxprune.tiles.balanced_tiles import BalancedTiles
from onnxprune.tiles.levels import level_worth
from onnxprune.tiles.masking import block_sums
from onnxprune.tiles.pattern import cell_count

__all__ = ["PackedSize", "RetentionCurve", "packed_size", "retention_curve"]

_INDEX_BYTES = 8


@dataclass(frozen=True)
class PackedSize:
    """Size of a layer in packed form.

    Attributes:
        kept: r, blocks in each tile.
        weights: Stored values, padding included.
        size_bytes: Of values and index.
        macs: Multiply-accumulates of one sample, padding included.
        dense_bytes: Of the dense weight.
        dense_macs: Of the dense layer.
    """

    kept: int
    weights: int
    size_bytes: float
    macs: float
    dense_bytes: float
    dense_macs: float


@dataclass(frozen=True, eq=False)
class RetentionCurve:
    """Kept mass over density, for one order of a layer.

    Attributes:
        kept: r, int64 [KB]: 1 to KB.
        densities: r / KB, float64 [KB].
        mass: Kept mass at each, float64 [KB]; concave and ascending.
    """

    kept: Indices
    densities: Floats
    mass: Floats


def packed_size(
    pattern: BalancedTiles, inputs: int, outputs: int, *, taps: int = 1, positions: float = 1, itemsize: float = 4
) -> PackedSize:
    """Returns what the packed layer stores and computes.

    Args:
        pattern: Blocks, tiles and density.
        inputs: K.
        outputs: N.
        taps: Kernel positions of a convolution.
        positions: How often the weight is used in one sample: rows of a MatMul, output positions of a convolution.
        itemsize: Bytes of one value; below one for kinds that ONNX packs.

    Raises:
        InternalError: when a size is not above zero.
    """
    if min(inputs, outputs, taps) < 1 or min(positions, itemsize) <= 0:
        raise InternalError(f"a layer has sizes above zero, not {(inputs, outputs, taps, positions, itemsize)}")
    kept, tiles = pattern.kept(inputs), cell_count(outputs, pattern.tile)
    weights = tiles * kept * pattern.block * pattern.tile * taps
    dense = inputs * outputs * taps
    return PackedSize(
        kept,
        weights,
        weights * itemsize + _INDEX_BYTES * tiles * kept,
        weights * positions,
        dense * itemsize,
        dense * positions,
    )


def retention_curve(
    pattern: BalancedTiles, saliency: Floats, rows: Indices | None = None, columns: Indices | None = None
) -> RetentionCurve:
    """Returns the kept mass at every r, for an order that stays the same.

    Args:
        pattern: Blocks and tiles; its density plays no part.
        saliency: X, float64 [K, N], in original order.
        rows: Position → original input, int64 [K]; None leaves the order as it is.
        columns: Position → original output, int64 [N].
    """
    sums = block_sums(pattern, saliency, rows, columns)
    kept = np.arange(1, len(sums) + 1, dtype=np.int64)
    return RetentionCurve(kept, kept / len(sums), np.cumsum(level_worth(sums)))
