"""How tiles are chosen and computed: what a user can ask for."""

from __future__ import annotations

import re
from typing import Literal

from onnxprune.core.errors import UsageError

__all__ = ["BlockOption", "Saliency", "When", "parse_block", "parse_n_of_m"]

BlockOption = tuple[int, int] | None
"""Inputs and outputs of a block; None for what suits the operator."""
Saliency = Literal["auto", "magnitude", "fisher"]
"""What an entry of a weight is worth when tiles go."""
When = Literal["auto", "always", "never", "kernel", "body", "densify"]
"""In which form tiled layers are written; see `onnxprune.kernels.rewrite`."""

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


def parse_n_of_m(text: str | None) -> tuple[int, int] | None:
    """Returns N and M of "2:4", or None where the text has no such form.

    Raises:
        UsageError: unless 1 ≤ N < M.
    """
    found = _GROUPS.fullmatch((text or "").strip())
    if found is None:
        return None
    n, m = int(found[1]), int(found[2])
    if not 1 <= n < m:
        raise UsageError(f"--block {text}: of every M inputs, N are kept, at least one and fewer than M, as in 2:4.")
    return n, m
