"""Which of several models that compute the same is best kept: the fastest, and of those as fast the smallest.

Two models are as fast as each other where the 95 % intervals of their times overlap, or where their medians differ by
less than one could rely on.
"""

from __future__ import annotations

from collections.abc import Mapping

from onnxprune.runtime.ratios import Ratio

__all__ = ["SLOWEST", "fastest"]

SLOWEST = 1 / 0.98
"""What takes the place of the reference takes at most this many times its time."""
_MARGIN = 1.02
_SAME_SIZE = 1.02


def fastest(ratios: Mapping[str, Ratio], sizes: Mapping[str, int], reference: str) -> str:
    """Returns the name of the model to keep.

    Args:
        ratios: Model → its time over the reference's; the reference itself may be absent.
        sizes: Model → bytes, of the reference too. Sizes within 2 % count as equal.
        reference: What is kept where nothing else is as fast.
    """
    one = Ratio(1.0, 1.0, 1.0, 0.0)
    known = {name: ratio for name, ratio in ratios.items() if ratio.value <= SLOWEST} | {reference: one}
    best = min(known.values(), key=lambda ratio: ratio.value)
    alike = [name for name, ratio in known.items() if ratio.value <= _MARGIN * best.value or ratio.low <= best.high]
    least = min(sizes[name] for name in alike)
    small = [name for name in alike if sizes[name] <= _SAME_SIZE * least]
    return min(small, key=lambda name: (known[name].value, name))
