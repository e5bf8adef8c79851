"""Tile patterns: which blocks of a weight stay, how they are permuted and packed.

Needs numpy and scipy only. In the order of the data: saliencies of weights (`saliency`), a pattern
(`BalancedTiles`, `NOfM`, `TetrisBlocks`), orders of channels under which it prunes least (`search` for coupled
layers, `search_layer` for one alone), then `pack` and what the packed form computes (`block_sparse_matmul`).
"""

from __future__ import annotations

from onnxprune.tiles.axis import Segment, axis_length, axis_order
from onnxprune.tiles.balanced_tiles import BalancedTiles
from onnxprune.tiles.density import PackedSize, RetentionCurve, packed_size, retention_curve
from onnxprune.tiles.found import Found, FoundMember, Point, Pruned
from onnxprune.tiles.masking import block_sums, expand_choice, make_mask, retained
from onnxprune.tiles.member import Member
from onnxprune.tiles.n_of_m import NOfM
from onnxprune.tiles.options import SearchOptions
from onnxprune.tiles.packed import Packed, pack, pack_conv, unpack, unpack_conv
from onnxprune.tiles.pattern import Pattern
from onnxprune.tiles.permutation import search, search_layer
from onnxprune.tiles.reference import block_sparse_conv, block_sparse_matmul
from onnxprune.tiles.saliency import efficacy, largest_mass, measure_saliency
from onnxprune.tiles.split import TileClass, fill_classes, split_tiles
from onnxprune.tiles.tetris_blocks import TetrisBlocks

__all__ = [
    "BalancedTiles",
    "Found",
    "FoundMember",
    "Member",
    "NOfM",
    "Packed",
    "PackedSize",
    "Pattern",
    "Point",
    "Pruned",
    "RetentionCurve",
    "SearchOptions",
    "Segment",
    "TetrisBlocks",
    "TileClass",
    "axis_length",
    "axis_order",
    "block_sparse_conv",
    "block_sparse_matmul",
    "block_sums",
    "efficacy",
    "expand_choice",
    "fill_classes",
    "largest_mass",
    "make_mask",
    "measure_saliency",
    "pack",
    "pack_conv",
    "packed_size",
    "retained",
    "retention_curve",
    "search",
    "search_layer",
    "split_tiles",
    "unpack",
    "unpack_conv",
]
