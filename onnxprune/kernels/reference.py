"""What the block-sparse operators compute, in numpy and float64: what kernels and bodies are tested against."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxprune.kernels.activation import Activation
from onnxprune.kernels.nodes import Window

__all__ = ["conv", "dense_weight", "matmul"]


def dense_weight(
    weight: NDArray[Any], index: NDArray[np.int64], *, block: int, inputs: int, outputs: int
) -> NDArray[np.float64]:
    """Returns the dense weight of a tiled one, float64 [outputs, inputs, kernel...].

    Args:
        weight: [G·T, R, kernel...]; for a MatMul, [G, R, T] turned into [G·T, R].
        index: int64 [G, R / block].
        block: Inputs in a block.
        inputs: K.
        outputs: N.
    """
    tiles = index.shape[0]
    width = weight.shape[0] // tiles
    dense = np.zeros((outputs, inputs, *weight.shape[2:]))
    for output in range(outputs):
        for row in range(weight.shape[1]):
            at = int(index[output // width, row // block]) * block + row % block
            if at < inputs:
                dense[output, at] += weight[output, row]  # a block may be listed twice
    return dense


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
    rows = weight.transpose(0, 2, 1).reshape(weight.shape[0] * weight.shape[2], weight.shape[1])
    dense = dense_weight(rows, index, block=block_k, inputs=x.shape[-1], outputs=out_features)
    y = x.astype(np.float64) @ dense.T + bias[:out_features].astype(np.float64)
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
    dense = dense_weight(weight, index, block=block_c, inputs=x.shape[1], outputs=out_channels)
    options = window.attributes()
    rank = len(window.kernel_shape)
    strides, dilations, pads = options["strides"], options["dilations"], options["pads"]
    padded = np.pad(x.astype(np.float64), [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)])
    sizes = [
        (size - (kernel - 1) * dilation - 1) // stride + 1
        for size, kernel, dilation, stride in zip(
            padded.shape[2:], window.kernel_shape, dilations, strides, strict=True
        )
    ]
    y = np.zeros((x.shape[0], out_channels, *sizes))
    # kernel and image axes first, where an index of several axes may stand alone
    axes, back = (*range(2, rank + 2), 0, 1), (rank, rank + 1, *range(rank))
    for tap in itertools.product(*(range(kernel) for kernel in window.kernel_shape)):
        steps = zip(tap, dilations, sizes, strides, strict=True)
        seen = tuple(slice(t * d, t * d + (size - 1) * stride + 1, stride) for t, d, size, stride in steps)
        y += np.einsum("oc,bc...->bo...", dense.transpose(*axes)[tap], padded.transpose(*axes)[seen].transpose(*back))
    if bias is not None:
        y += bias[:out_channels].astype(np.float64).reshape(-1, *(1,) * rank)
    return (activation or Activation()).values(y)
