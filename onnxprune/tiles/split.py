"""An unevenly sparse layer as a few balanced ones.

Tiles that keep c_g blocks are parted into at most four classes; all tiles of a class are stored with as many
blocks as its fullest one needs. Sorted by c_g, the classes of the cheapest parting are runs, so that

    cost = Σ_classes ( tiles · max c + overhead )

is minimised exactly by dynamic programming over where runs end. `overhead` is what one more operator costs, in
blocks of one tile. A tile that has room left takes its next best blocks: they cost nothing any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnxprune.core.errors import InternalError
from onnxprune.tiles.arrays import Floats, Indices, Mask

__all__ = ["MAX_CLASSES", "TileClass", "fill_classes", "split_tiles"]

MAX_CLASSES = 4


@dataclass(frozen=True, eq=False)
class TileClass:
    """Tiles that become one operator.

    Attributes:
        kept: r, the blocks that each of them stores; 0 where the tiles are empty and need no operator.
        tiles: Their numbers, ascending, int64 [tiles].
    """

    kept: int
    tiles: Indices


def split_tiles(counts: Indices, classes: int = MAX_CLASSES, overhead: float = 0.0) -> tuple[TileClass, ...]:
    """Returns the cheapest classes, those that store most first.

    Args:
        counts: Blocks that each tile keeps, int64 [tiles].
        classes: How many there may be.
        overhead: What a class costs besides its blocks, in blocks of one tile. A class of empty tiles costs nothing.

    Raises:
        InternalError: when there is no tile or no class.
    """
    if not len(counts) or classes < 1:
        raise InternalError(f"cannot split {len(counts)} tiles into {classes} classes")
    order = np.argsort(-counts, kind="stable")
    sorted_counts = counts[order]
    n = len(order)
    # best[c][e]: least cost of the first e tiles in at most c classes, and where the last of them begins
    best = np.full((classes + 1, n + 1), np.inf)
    best[:, 0] = 0.0
    begin = np.zeros((classes + 1, n + 1), dtype=np.int64)
    for c in range(1, classes + 1):
        for end in range(1, n + 1):
            starts = np.arange(end)
            fullest = sorted_counts[:end]
            costs = best[c - 1, :end] + np.where(fullest > 0, (end - starts) * fullest + overhead, 0.0)
            begin[c, end] = costs.argmin()
            best[c, end] = costs[begin[c, end]]
    found: list[TileClass] = []
    end, c = n, classes
    while end:
        start = int(begin[c, end])
        found.append(TileClass(int(sorted_counts[start]), np.sort(order[start:end])))
        end, c = start, c - 1
    return tuple(reversed(found))


def fill_classes(sums: Floats, choice: Mask, classes: Sequence[TileClass]) -> Mask:
    """Returns the choice with every tile filled up to what its class stores: bool [blocks, tiles].

    Args:
        sums: Saliency of each block, float64 [blocks, tiles]; the largest that are not kept are added.
        choice: Kept blocks, bool [blocks, tiles].
        classes: Of all tiles, none with less room than a tile of it needs.
    """
    result = choice.copy()
    ranked = np.argsort(-np.where(choice, np.inf, sums), axis=0, kind="stable")
    for each in classes:
        for tile in each.tiles.tolist():
            result[ranked[: each.kept, tile], tile] = True
    return result
