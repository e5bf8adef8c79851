"""From scores and budgets to the number of channels that each group keeps."""

from onnxprune.allocate.alignment import AlignOption, parse_align
from onnxprune.allocate.base import Allocator, Problem
from onnxprune.allocate.engine import allocate, counts_worth
from onnxprune.allocate.preferred import preferred_allocator
from onnxprune.allocate.registry import ALLOCATORS
from onnxprune.allocate.select import select_channels

__all__ = [
    "ALLOCATORS",
    "AlignOption",
    "Allocator",
    "Problem",
    "allocate",
    "counts_worth",
    "parse_align",
    "preferred_allocator",
    "select_channels",
]
