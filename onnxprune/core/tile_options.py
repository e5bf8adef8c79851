"""How tiles are chosen and computed: what a user can ask for."""

from __future__ import annotations

import re
from typing import Literal

from onnxprune.core.errors import UsageError

__all__ = ["BlockOption", "Saliency", "When", "parse_block"]

BlockOption = tuple[int, int] | None
"""Inputs and outputs of a block; None for what suits the operator."""
Saliency = Literal["auto", "magnitude", "fisher"]
"""What an entry of a weight is worth when tiles go."""
When = Literal["auto", "always", "never"]
"""When tiled layers become block-sparse operators."""

_FORM = re.compile(r"(\d+)[x×](\d+)")


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
        raise UsageError(f"--block {text}: give inputs and outputs of a block, such as 16x64, or auto.")
    return block
