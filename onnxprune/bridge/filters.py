"""The filters of a convolution: one per output channel, whatever the layout of its weight."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxprune.graph import Model
from onnxprune.ops.base import attribute

__all__ = ["filter_norms", "is_shared", "output_channels", "scaled_filters"]

Float64 = NDArray[np.float64]


def output_channels(node: gs.Node) -> int:
    """Returns the number of output channels of a Conv or ConvTranspose with a constant weight."""
    shape = node.inputs[1].shape
    return int(shape[1]) * _groups(node) if node.op == "ConvTranspose" else int(shape[0])


def is_shared(model: Model, name: str) -> bool:
    """Returns whether an initializer has more than one reader, the model's outputs included."""
    uses = sum(tensor.name == name for node in model.nodes for tensor in node.inputs)
    return uses > 1 or any(spec.name == name for spec in model.outputs())


def filter_norms(node: gs.Node, weight: Float64) -> Float64:
    """Returns the L2 norm of each filter: float64 [output channels].

    Args:
        node: A Conv or ConvTranspose.
        weight: Its weight.
    """
    squares = np.square(weight)
    if node.op == "Conv":
        norms: Float64 = np.sqrt(squares.reshape(len(weight), -1).sum(axis=1))
        return norms
    blocks = squares.reshape(_groups(node), -1, weight.shape[1], int(np.prod(weight.shape[2:])))
    norms = np.sqrt(blocks.sum(axis=(1, 3))).reshape(-1)
    return norms


def scaled_filters(node: gs.Node, weight: Float64, factor: Float64) -> Float64:
    """Returns the weight with each filter times its factor.

    Args:
        node: A Conv or ConvTranspose.
        weight: Its weight.
        factor: float64 [output channels].
    """
    if node.op == "Conv":
        return weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
    # ConvTranspose: [group · in, out, …], with output channel g · out + j
    blocks = weight.reshape(_groups(node), -1, *weight.shape[1:])
    return (blocks * factor.reshape(len(blocks), 1, -1, *[1] * (weight.ndim - 2))).reshape(weight.shape)


def _groups(node: gs.Node) -> int:
    return int(attribute(node, "group", 1))
