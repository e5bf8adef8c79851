"""Which blocks a weight is cut into.

A block is bk inputs by T outputs. Of the one that is asked for, or the one that the operator's kernel likes best,
bk is halved until it divides the inputs, and T until the last tile wastes little. A weight of fewer than two blocks
of inputs has nothing to choose between and stays dense (TETRIS shrinks blocks to the same end).
"""

from __future__ import annotations

import re
from typing import Literal

from onnxprune.core.errors import UsageError
from onnxprune.tiles.n_of_m import NOfM

__all__ = ["BlockOption", "fit_block", "parse_block", "parse_n_of_m"]

BlockOption = tuple[int, int] | None
"""Inputs and outputs of a block; None for what suits the operator."""

_PREFERRED: dict[str, tuple[int, int]] = {"MatMul": (1, 32), "Conv": (1, 8)}
_LEAST_TILE = 4
_LEAST_BLOCKS = 2
_WASTE = 1 / 16
_FORM = re.compile(r"(\d+)[x×](\d+)")
_GROUPS = re.compile(r"(\d+):(\d+)")


def parse_block(text: str | None) -> BlockOption:
    """Returns the block that "16x64" names, or None for "auto".

    Raises:
        UsageError: when the text is neither.
    """
    if text is None or text == "auto":
        return None
    found = _FORM.fullmatch(text.strip())
    block = (int(found[1]), int(found[2])) if found else (0, 0)
    if min(block) < 1:
        raise UsageError(
            f"--block {text}: give inputs and outputs of a block, such as 16x64, auto, or N:M such as 2:4."
        )
    return block


def parse_n_of_m(text: str | None) -> NOfM | None:
    """Returns the pattern that "2:4" names, or None where the text has no such form.

    Raises:
        UsageError: unless 1 ≤ N < M.
    """
    found = _GROUPS.fullmatch((text or "").strip())
    if found is None:
        return None
    n, m = int(found[1]), int(found[2])
    if not 1 <= n < m:
        raise UsageError(f"--block {text}: of every M inputs, N are kept, at least one and fewer than M, as in 2:4.")
    return NOfM(n, m)


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
