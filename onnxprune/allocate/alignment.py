"""Which multiples channel counts should have.

Providers compute in blocks of N physical channels (8 for AVX, and for fp16 and tf32 on CUDA),
so a count just above a multiple costs as much time as the next multiple. A group of `multiple`
physical channels per logical one is aligned to

    unit = N / gcd(N, multiple)

logical channels, and not at all when it does not hold two such units: it would otherwise be
all or nothing. A count is aligned when it is a multiple of the unit or the full size. Where
alignment stands in the way of the budget, a unit gives way step by step: 8, 4, 2, 1.
"""

from __future__ import annotations

import math
from typing import Literal

from onnxprune.core.errors import UsageError
from onnxprune.core.group import Group

__all__ = ["AUTO_CHANNELS", "AlignOption", "alignment_unit", "finer", "honoured", "parse_align"]

AlignOption = Literal["auto"] | int
AUTO_CHANNELS = 8


def parse_align(text: str | int) -> AlignOption:
    """Returns the alignment that `text` asks for.

    Raises:
        UsageError: when it is neither "auto" nor a whole number from 1.
    """
    if text == "auto":
        return "auto"
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise UsageError(f"--align {text}: give 'auto', a multiple such as 8, or 1 for no alignment.")
    return value


def alignment_unit(group: Group, align: AlignOption) -> int:
    """Returns the multiple that the kept count of `group` should have, in logical channels."""
    channels = AUTO_CHANNELS if align == "auto" else align
    unit = channels // math.gcd(channels, group.multiple)
    return unit if group.size >= 2 * unit else 1


def finer(unit: int) -> int:
    """Returns the unit that `unit` gives way to; 1 stays 1."""
    return unit // 2 if unit % 2 == 0 else 1


def honoured(kept: int, size: int, unit: int) -> int:
    """Returns the coarsest unit that `kept` of `size` channels is aligned to, from `unit` down."""
    while kept != size and kept % unit:
        unit = finer(unit)
    return unit
