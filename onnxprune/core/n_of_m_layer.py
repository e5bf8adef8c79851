"""A weight of which every m inputs in a row keep n, for each output on its own. Part of a plan."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from onnxprune.core.errors import InputError

__all__ = ["NOfMLayer", "check_texts"]


@dataclass(frozen=True)
class NOfMLayer:
    """One weight of the slim model, its channels in the order that the tiling gives them.

    The K inputs are cut in groups of m; of each group every output keeps n, the same at all positions of a
    convolution's kernel. A last group of fewer inputs keeps n of those, or all.

    Attributes:
        node: Label of the node that reads the weight.
        weight: Name of the initializer.
        operator: What computes it.
        input_axis: Axis of the weight that is contracted.
        inputs: K.
        outputs: N.
        n: Inputs of a group that an output keeps.
        m: Inputs in a group.
        bits: Which entries stay: the bits of bool [K, N] in base64.
        spatial: Axes of a convolution's kernel; of no meaning to a matrix.
    """

    node: str
    weight: str
    operator: Literal["MatMul", "Conv"]
    input_axis: int
    inputs: int
    outputs: int
    n: int
    m: int
    bits: str
    spatial: int = 2

    @staticmethod
    def pack(mask: NDArray[np.bool_]) -> str:
        """Returns a mask, bool [K, N], as `bits`."""
        return base64.b64encode(np.packbits(mask).tobytes()).decode()

    @property
    def kept_inputs(self) -> int:
        """Inputs that each output keeps."""
        return self.inputs // self.m * self.n + min(self.inputs % self.m, self.n)

    def mask(self) -> NDArray[np.bool_]:
        """Returns which entries stay: bool [K, N].

        Raises:
            ValueError: when there are not as many bits.
        """
        count = self.inputs * self.outputs
        packed = np.frombuffer(base64.b64decode(self.bits, validate=True), dtype=np.uint8)
        if len(packed) != -(-count // 8):
            raise ValueError(f"{8 * len(packed)} bits for {self.inputs} x {self.outputs} entries")
        return np.unpackbits(packed, count=count).astype(np.bool_).reshape(self.inputs, self.outputs)

    def weight_mask(self) -> NDArray[np.bool_]:
        """Returns the mask so that it broadcasts over the weight."""
        mask = self.mask() if self.input_axis == 0 else self.mask().T
        return mask.reshape(*mask.shape, *[1] * (self.spatial if self.operator == "Conv" else 0))

    def to_record(self) -> dict[str, Any]:
        """Returns JSON values."""
        return dict(vars(self))

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> NOfMLayer:
        """Returns the layer that a record tells of.

        Raises:
            InputError: when the record is not that of a layer.
        """
        try:
            layer = cls(**record)
            check_texts(layer.node, layer.weight, layer.operator, layer.bits)
            if not 1 <= layer.n < layer.m <= layer.inputs or min(layer.inputs, layer.outputs, layer.spatial + 1) < 1:
                raise ValueError(f"{layer.n}:{layer.m} of {layer.inputs} x {layer.outputs}")
            mask = layer.mask()
        except (binascii.Error, TypeError, ValueError) as error:
            raise InputError(f"Not a layer with N:M zeros of an onnxprune plan: {error}.") from error
        padded = np.pad(mask, ((0, -layer.inputs % layer.m), (0, 0)))
        counts = padded.reshape(-1, layer.m, layer.outputs).sum(axis=1)
        if (counts[: layer.inputs // layer.m] != layer.n).any() or (counts > layer.n).any():
            raise InputError(
                f"Plan, zeros of {layer.node!r}: every output must keep {layer.n} of each {layer.m} inputs."
            )
        return layer


def check_texts(*values: object) -> None:
    """Checks names that a file gives.

    Raises:
        TypeError: when one is no text.
    """
    wrong = [value for value in values if not isinstance(value, str)]
    if wrong:
        raise TypeError(f"{wrong[0]!r} is no text")
