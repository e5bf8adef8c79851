"""Layers as groups whose channels are ranks of blocks, so that allocators share budgets out over tiles.

Every tile of a layer ranks its blocks by saliency, and the layer keeps the first r ranks in all of them.
Rank j is worth what the blocks of that rank hold together, and costs the same share of the layer as any
other: a layer is a group of as many channels as it has blocks, and all that allocators know of groups,
budgets and floors holds for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from onnxprune.axes import Poly
from onnxprune.core.group import Group
from onnxprune.tiles.arrays import Floats, Indices
from onnxprune.tiles.masking import block_sums, expand_choice
from onnxprune.tiles.pattern import Pattern

__all__ = ["Level", "block_ranks", "entry_ranks", "level_costs", "level_groups", "level_worth"]


@dataclass(frozen=True)
class Level:
    """A layer that can be cut into tiles.

    Attributes:
        name: Of the group that stands for it.
        blocks: Input blocks of each tile before anything goes.
        dense: Resource → what the layer costs as it is.
        each: Resource → what it costs for each block that its tiles keep, what pads the last tile included.
    """

    name: str
    blocks: int
    dense: Mapping[str, float]
    each: Mapping[str, float]


def level_groups(levels: tuple[Level, ...]) -> tuple[Group, ...]:
    """Returns a group for each layer, of as many channels as there are blocks."""
    return tuple(Group(level.name, level.blocks, (), unit="block") for level in levels)


def level_costs(levels: tuple[Level, ...], whole: Mapping[str, float]) -> dict[str, Poly]:
    """Returns resource → cost of the model as a polynomial in the blocks that layers keep.

    Args:
        levels: The layers.
        whole: Resource → cost of the model before anything goes.
    """
    found = {}
    for resource, total in whole.items():
        shares = [Poly.variable(level.name) * level.each[resource] for level in levels if level.each.get(resource)]
        rest = total - sum(level.dense.get(resource, 0.0) for level in levels)
        found[resource] = Poly.sum([*shares, Poly.constant(max(rest, 0.0))])
    return found


def block_ranks(sums: Floats) -> Indices:
    """Returns the rank of each block within its tile, the best first: int64 [blocks, tiles].

    Args:
        sums: Saliency in each block, float64 [blocks, tiles]. Of equals, the first ranks first.
    """
    ranks = np.empty(sums.shape, dtype=np.int64)
    order = np.argsort(-sums, axis=0, kind="stable")
    np.put_along_axis(ranks, order, np.arange(len(sums), dtype=np.int64)[:, None], axis=0)
    return ranks


def entry_ranks(
    pattern: Pattern, saliency: Floats, rows: Indices | None = None, columns: Indices | None = None
) -> Indices:
    """Returns the rank within its tile of the block that each entry lies in: int64 [K, N], in *original* order.

    Args:
        pattern: Says how large the blocks are.
        saliency: X, float64 [K, N], in original order.
        rows: Position → original input, int64 [K]; None leaves the order as it is.
        columns: Position → original output, int64 [N].
    """
    inputs, outputs = saliency.shape
    rows = np.arange(inputs, dtype=np.int64) if rows is None else rows
    columns = np.arange(outputs, dtype=np.int64) if columns is None else columns
    ranks = block_ranks(block_sums(pattern, saliency, rows, columns))
    return expand_choice(pattern, ranks, rows, columns)


def level_worth(sums: Floats) -> Floats:
    """Returns what each rank is worth, descending: float64 [blocks].

    Args:
        sums: Saliency in each block, float64 [blocks, tiles].
    """
    result: Floats = np.sort(sums, axis=0)[::-1].sum(axis=1)
    return result
