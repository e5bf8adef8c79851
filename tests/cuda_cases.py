"""Layers that the CUDA kernels are tried on: blocks, tiles that are cut short, windows; and how far off they may be."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from block_sparse_cases import ConvCase, MatMulCase

from onnxprune.kernels import Window

__all__ = ["CONVS", "MATMULS", "TOLERANCE", "of_element"]

Case = TypeVar("Case", MatMulCase, ConvCase)

# Rounding of the output, or for tf32 of inputs and weights, relative to the largest value.
TOLERANCE = {"float16": 1e-3, "bfloat16": 8e-3, "tf32": 1.5e-3, "float32": 2e-6}
MATMULS = [
    MatMulCase(tiles=2, width=128, block=16, kept=5, inputs=160, lead=(130,)),
    MatMulCase(tiles=3, width=64, block=8, kept=7, inputs=64, lead=(2, 3, 11)),
    MatMulCase(tiles=2, width=256, block=32, kept=3, inputs=128, lead=(17,)),
    MatMulCase(tiles=3, width=32, block=24, kept=3, inputs=96, lead=(150,)),
    MatMulCase(tiles=2, width=128, block=8, kept=17, inputs=136, lead=(70,), cut=100),  # outputs 16 bytes do not fill
    MatMulCase(tiles=2, width=64, block=16, kept=3, inputs=40, lead=(5,)),  # the last block is cut short
    MatMulCase(tiles=2, width=64, block=16, kept=4, inputs=61, lead=(9,), cut=1),  # rows of x are not aligned
    MatMulCase(tiles=1, width=64, block=8, kept=1, inputs=3, lead=()),
    MatMulCase(tiles=2, width=64, block=64, kept=20, inputs=1280, lead=(33,)),  # many steps
    MatMulCase(tiles=9, width=32, block=8, kept=2, inputs=40, lead=(1200,)),  # several groups of blocks
]
CONVS = [
    ConvCase(tiles=2, width=64, block=8, kept=2, inputs=24, image=(9, 7)),
    ConvCase(tiles=2, width=32, block=16, kept=2, inputs=32, image=(8, 8)),  # planes that 16 bytes fill
    ConvCase(tiles=1, width=128, block=8, kept=3, inputs=24, image=(6, 6), window=Window((1, 1)), batch=5),
    ConvCase(tiles=2, width=64, block=8, kept=2, inputs=21, image=(11, 9), cut=7, bias=False),
    ConvCase(tiles=1, width=64, block=8, kept=2, inputs=16, image=(11, 9), window=Window((5, 3), (0, 2, 3, 1), (3, 1))),
    ConvCase(tiles=1, width=64, block=8, kept=2, inputs=16, image=(12, 13), window=Window((3, 3), (), (), (2, 3))),
    ConvCase(tiles=1, width=64, block=8, kept=1, inputs=8, image=(9, 9), window=Window((2, 2), (5, 5, 6, 6), (3, 3))),
    ConvCase(tiles=1, width=32, block=8, kept=9, inputs=72, image=(15, 15), window=Window((3, 3), (1,) * 4, (2, 2))),
    ConvCase(tiles=2, width=32, block=8, kept=2, inputs=24, image=(31,), window=Window((5,), (2, 2), (2,))),
    ConvCase(tiles=1, width=64, block=8, kept=2, inputs=24, image=(4, 5, 6), window=Window((3, 3, 3), (1,) * 6)),
    ConvCase(
        tiles=1, width=32, block=8, kept=8, inputs=70, image=(3, 4, 5), window=Window((2, 3, 1), (1,) * 6, (1, 2, 2))
    ),
]


def of_element(case: Case, element: str) -> Case:
    """Returns the case with what is multiplied so: a key of TOLERANCE."""
    return replace(case, dtype="float32" if element == "tf32" else element)
