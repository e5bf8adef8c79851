"""What the block-sparse operators compute, in numpy and float64: what kernels and bodies are tested against.

`onnxprune.tiles.reference` computes the product; here come what pads the last tile, cut off, and the activation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxprune.kernels.activation import Activation
from onnxprune.kernels.nodes import Window
from onnxprune.tiles import block_sparse_conv, block_sparse_matmul

__all__ = ["conv", "matmul"]


def matmul(
    x: NDArray[Any],
    weight: NDArray[Any],
    index: NDArray[np.int64],
    bias: NDArray[Any],
    *,
    block_k: int,
    out_features: int,
    activation: Activation | None = None,
) -> NDArray[np.float64]:
    """Returns what BlockSparseMatMul computes, float64 [..., out_features].

    Args:
        x: [..., K].
        weight: [G, R, T].
        index: int64 [G, R / block_k].
        bias: [G·T].
        block_k: Inputs in a block.
        out_features: N.
        activation: What is applied to the output.
    """
    y = block_sparse_matmul(x, weight, index, block_k, bias[:out_features])
    return (activation or Activation()).values(y)


def conv(
    x: NDArray[Any],
    weight: NDArray[Any],
    index: NDArray[np.int64],
    bias: NDArray[Any] | None,
    *,
    block_c: int,
    out_channels: int,
    window: Window,
    activation: Activation | None = None,
) -> NDArray[np.float64]:
    """Returns what BlockSparseConv computes, float64 [B, out_channels, spatial...].

    Args:
        x: [B, K, spatial...].
        weight: [G·T, R, kernel...].
        index: int64 [G, R / block_c].
        bias: [G·T] or None.
        block_c: Channels in a block.
        out_channels: N.
        window: Kernel, pads, strides and dilations.
        activation: What is applied to the output.
    """
    options = window.attributes()
    y = block_sparse_conv(
        x,
        weight,
        index,
        block_c,
        None if bias is None else bias[:out_channels],
        strides=options["strides"],
        pads=options["pads"],
        dilations=options["dilations"],
    )
    return (activation or Activation()).values(y[:, :out_channels])
