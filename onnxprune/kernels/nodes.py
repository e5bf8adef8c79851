"""The block-sparse operators: names, attributes and how their nodes are made.

The N outputs of a layer are cut into G tiles of T. Each tile keeps R = r·b of the K inputs, as r
blocks of b neighbouring inputs, r being the same for all tiles:

    BlockSparseMatMul(x [..., K], W [G, R, T], index int64 [G, r], bias [G·T]) → [..., N]
    BlockSparseConv(x [B, K, spatial...], W [G·T, R, kernel...], index int64 [G, r], bias [G·T]?) → [B, N, spatial...]

where x, W and bias are float32, float16, bfloat16 or float64 alike, and row i of a tile's weights belongs to input
`index[g, i // b]·b + i % b` of the whole layer. So a tile of a grouped convolution is one whose index
stays within its group, and `group`, the number of tiles, is what Conv's body needs.

Sizes that do not divide: `in_features` (`in_channels`) is K and `out_features` (`out_channels`) is N, the true
sizes. The last block may reach beyond K, its weights there must be zero; the last tile may reach beyond N, its
weights and bias there mean nothing. (G-1)·T < N ≤ G·T.

An activation at the end is part of the name, its parameters are attributes: `BlockSparseConvClip(min, max)`. One name
for all would need a body that chooses by a string attribute (strings do not exist in every
execution provider) or the overloads of IR version 10, which onnxruntime up to 1.23 ignores silently, calling
whichever function comes first.

The bias of a MatMul is required, zeros where there is none: a function's body cannot leave out the Add.

There are two domains of these operators. `onnxprune` is the one that the library of kernels registers, and once it is
registered their bodies are never tried. Nobody registers `onnxprune.portable`: what stands there is computed by its
body in every session. The operators that expand packed weights to dense ones are only there (see `unpacking`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from onnx import NodeProto, helper

from onnxprune.core.errors import UsageError
from onnxprune.kernels.activation import Activation

__all__ = [
    "CONV",
    "DOMAIN",
    "MATMUL",
    "PORTABLE",
    "UNPACK_CONV",
    "UNPACK_MATMUL",
    "VERSION",
    "Window",
    "conv_node",
    "matmul_node",
    "unpack_node",
]

DOMAIN = "onnxprune"
PORTABLE = "onnxprune.portable"
VERSION = 1
MATMUL = "BlockSparseMatMul"
CONV = "BlockSparseConv"
UNPACK_MATMUL = "UnpackMatMul"
UNPACK_CONV = "UnpackConv"


@dataclass(frozen=True)
class Window:
    """The window of a convolution; lists left empty mean the defaults of Conv.

    Attributes:
        kernel_shape: Size of the kernel along each spatial axis, one to three of them.
        pads: Zeros before each axis, then zeros behind each.
        strides: Steps along each axis.
        dilations: Distance of neighbouring taps along each axis.
    """

    kernel_shape: tuple[int, ...]
    pads: tuple[int, ...] = field(default=())
    strides: tuple[int, ...] = field(default=())
    dilations: tuple[int, ...] = field(default=())

    def __post_init__(self) -> None:
        rank = len(self.kernel_shape)
        for name, values, length in (
            ("pads", self.pads, 2 * rank),
            ("strides", self.strides, rank),
            ("dilations", self.dilations, rank),
        ):
            if values and len(values) != length:
                raise UsageError(
                    f"{name} of a kernel {list(self.kernel_shape)} must be {length} numbers, not {values}."
                )

    def attributes(self) -> dict[str, list[int]]:
        """Returns all attributes, defaults written out."""
        rank = len(self.kernel_shape)
        return {
            "kernel_shape": list(self.kernel_shape),
            "pads": list(self.pads or (0,) * (2 * rank)),
            "strides": list(self.strides or (1,) * rank),
            "dilations": list(self.dilations or (1,) * rank),
        }


def matmul_node(
    inputs: Sequence[str],
    output: str,
    *,
    block_k: int,
    in_features: int,
    out_features: int,
    activation: Activation | None = None,
    name: str = "",
    domain: str = DOMAIN,
) -> NodeProto:
    """Returns a BlockSparseMatMul.

    Args:
        inputs: Names of x, weight, index and bias.
        output: Name of the output.
        block_k: b, inputs in a block.
        in_features: K.
        out_features: N.
        activation: What is applied to the output.
        name: The node's name.
        domain: DOMAIN, or PORTABLE for what is never computed by kernels.

    Raises:
        UsageError: when an input is missing.
    """
    if len(inputs) != 4 or not all(inputs):
        raise UsageError(f"{MATMUL} takes x, weight, index and bias (zeros where there is none), not {list(inputs)}.")
    sizes = {"block_k": block_k, "in_features": in_features, "out_features": out_features}
    return _node(MATMUL, inputs, output, sizes, activation or Activation(), (name, domain))


def conv_node(
    inputs: Sequence[str],
    output: str,
    *,
    tiles: int,
    block_c: int,
    in_channels: int,
    out_channels: int,
    window: Window,
    activation: Activation | None = None,
    name: str = "",
    domain: str = DOMAIN,
) -> NodeProto:
    """Returns a BlockSparseConv.

    Args:
        inputs: Names of x, weight, index and, where there is one, bias.
        output: Name of the output.
        tiles: G.
        block_c: b, channels in a block.
        in_channels: K.
        out_channels: N.
        window: Kernel, pads, strides and dilations.
        activation: What is applied to the output.
        name: The node's name.
        domain: DOMAIN, or PORTABLE for what is never computed by kernels.

    Raises:
        UsageError: when an input is missing.
    """
    if len(inputs) not in (3, 4) or not all(inputs):
        raise UsageError(f"{CONV} takes x, weight, index and perhaps bias, not {list(inputs)}.")
    sizes = {"group": tiles, "block_c": block_c, "in_channels": in_channels, "out_channels": out_channels}
    return _node(CONV, inputs, output, sizes | window.attributes(), activation or Activation(), (name, domain))


def unpack_node(
    operator: Literal["MatMul", "Conv"],
    inputs: Sequence[str],
    output: str,
    *,
    block_size: int,
    in_size: int,
    out_size: int,
    element: int,
    name: str = "",
) -> NodeProto:
    """Returns the node that makes a dense weight of a packed one.

    Args:
        operator: What the weight is for.
        inputs: Names of the packed values and of the index.
        output: Name of the dense weight: [K, N] of a MatMul, [N, K, kernel...] of a Conv.
        block_size: b.
        in_size: K.
        out_size: N.
        element: Element type of the values, as in TensorProto.
        name: The node's name.
    """
    kind = UNPACK_MATMUL if operator == "MatMul" else UNPACK_CONV
    node = helper.make_node(kind, list(inputs), [output], name=name or None, domain=PORTABLE)
    sizes = {"block_size": block_size, "in_size": in_size, "out_size": out_size, "element": element}
    node.attribute.extend(helper.make_attribute(key, value) for key, value in sizes.items())
    return node


def _node(
    base: str,
    inputs: Sequence[str],
    output: str,
    attributes: dict[str, int] | dict[str, int | list[int]],
    activation: Activation,
    place: tuple[str, str],
) -> NodeProto:
    name, domain = place
    node = helper.make_node(base + activation.name, list(inputs), [output], name=name or None, domain=domain)
    node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
    node.attribute.extend(helper.make_attribute(key, float(value)) for key, value in activation.parameters.items())
    return node
