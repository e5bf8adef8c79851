"""Which blocks a weight is cut into.

A block is bk inputs by T outputs. Of the one that is asked for, or the one that the operator's kernel likes best,
bk is halved until it divides the inputs, and T until the last tile wastes little. A weight of fewer than two blocks
of inputs has nothing to choose between and stays dense (TETRIS shrinks blocks to the same end).
"""

from __future__ import annotations

from typing import Literal

from onnxprune.core.tile_options import BlockOption

__all__ = ["fit_block"]

_PREFERRED: dict[str, tuple[int, int]] = {"MatMul": (1, 32), "Conv": (1, 8)}
_LEAST_TILE = 4
_LEAST_BLOCKS = 2
_WASTE = 1 / 16


def fit_block(
    operator: Literal["MatMul", "Conv"], inputs: int, outputs: int, wanted: BlockOption = None
) -> tuple[int, int] | str:
    """Returns the block of a weight, or why it has none.

    Args:
        operator: What computes with it.
        inputs: K.
        outputs: N.
        wanted: The block to come near to.
    """
    block, tile = wanted or _PREFERRED[operator]
    while inputs % block or inputs // block < _LEAST_BLOCKS:
        if block == 1:
            return f"it has {inputs} input{'s' * (inputs > 1)}, and blocks need a choice between two"
        block //= 2
    while tile > _LEAST_TILE and -(-outputs // tile) * tile > (1 + _WASTE) * outputs:
        tile //= 2
    return block, min(tile, outputs)
