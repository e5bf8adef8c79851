"""Which tiles, or which entries, of which weights stay, in which order of channels. Part of a plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from onnxprune.core.errors import InputError
from onnxprune.core.n_of_m_layer import NOfMLayer, check_texts

__all__ = ["FORMS", "CutLayer", "Form", "TiledLayer", "Tiling", "whole_numbers"]

Form: TypeAlias = Literal["kernel", "body", "densify", "dense"]
"""How a tiled layer is computed; see `onnxprune.kernels.rewrite`."""
FORMS: tuple[Form, ...] = ("kernel", "body", "densify", "dense")


@dataclass(frozen=True)
class TiledLayer:
    """One weight of the slim model, its channels in the order that the tiling gives them.

    The N outputs are cut in tiles of `tile`, the K inputs in blocks of `block`; every tile keeps as many
    blocks. Lengths that are no multiple end in a shorter tile or block.

    Attributes:
        node: Label of the node that reads the weight.
        weight: Name of the initializer.
        operator: What computes it.
        input_axis: Axis of the weight that is contracted.
        inputs: K.
        outputs: N.
        block: Inputs in a block.
        tile: Outputs in a tile.
        kept: For each tile the blocks that it keeps, ascending.
        spatial: Axes of a convolution's kernel; of no meaning to a matrix.
    """

    node: str
    weight: str
    operator: Literal["MatMul", "Conv"]
    input_axis: int
    inputs: int
    outputs: int
    block: int
    tile: int
    kept: tuple[tuple[int, ...], ...]
    spatial: int = 2

    @property
    def blocks(self) -> int:
        """Blocks that there are."""
        return -(-self.inputs // self.block)

    @property
    def kept_blocks(self) -> int:
        """Blocks that each tile keeps."""
        return len(self.kept[0])

    def choice(self) -> NDArray[np.bool_]:
        """Returns which blocks each tile keeps: bool [blocks, tiles]."""
        choice = np.zeros((self.blocks, len(self.kept)), dtype=np.bool_)
        for tile, blocks in enumerate(self.kept):
            choice[list(blocks), tile] = True
        return choice

    def mask(self) -> NDArray[np.bool_]:
        """Returns which entries stay: bool [K, N]."""
        whole = np.repeat(np.repeat(self.choice(), self.block, axis=0), self.tile, axis=1)
        return whole[: self.inputs, : self.outputs]

    def weight_mask(self) -> NDArray[np.bool_]:
        """Returns the mask so that it broadcasts over the weight."""
        mask = self.mask() if self.input_axis == 0 else self.mask().T
        return mask.reshape(*mask.shape, *[1] * (self.spatial if self.operator == "Conv" else 0))

    def to_record(self) -> dict[str, Any]:
        """Returns JSON values."""
        return {**vars(self), "kept": [list(blocks) for blocks in self.kept]}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> TiledLayer:
        """Returns the layer that a record tells of.

        Raises:
            InputError: when the record is not that of a layer.
        """
        try:
            kept = tuple(whole_numbers(blocks) for blocks in record["kept"])
            layer = cls(**{**record, "kept": kept})
            check_texts(layer.node, layer.weight, layer.operator)
            # an axis of the kernel more than there may be, so that all of these are at least one
            sizes = (layer.inputs, layer.block, layer.tile, layer.spatial + 1)
            whole = all(isinstance(value, int) and value > 0 for value in sizes)
            fits = whole and len(kept) == -(-layer.outputs // layer.tile) and len(set(map(len, kept))) == 1
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"Not a tiled layer of an onnxprune plan: {error}.") from error
        if not fits or any(
            not blocks or list(blocks) != sorted(set(blocks)) or blocks[0] < 0 or blocks[-1] >= layer.blocks
            for blocks in kept
        ):
            raise InputError(
                f"Plan, tiles of {layer.node!r}: every tile must keep equally many blocks, ascending and within "
                f"0..{layer.blocks - 1 if whole else '?'}."
            )
        return layer


def whole_numbers(values: Iterable[Any]) -> tuple[int, ...]:
    """Returns numbers that a file gives.

    Raises:
        TypeError: when one is not whole; rounding would cut something else than was written.
    """
    found = tuple(values)
    wrong = [value for value in found if not isinstance(value, int) or isinstance(value, bool)]
    if wrong:
        raise TypeError(f"{wrong[0]!r} is no whole number")
    return found


CutLayer: TypeAlias = TiledLayer | NOfMLayer


@dataclass(frozen=True)
class Tiling:
    """What was cut into tiles.

    Attributes:
        layers: In graph order.
        orders: Group name → which of its channels stands at each place, those that are pruned included; groups
            that are absent stay as they are.
    """

    layers: tuple[CutLayer, ...] = ()
    orders: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def masks(self) -> dict[str, NDArray[np.bool_]]:
        """Returns weight → which entries stay, to be broadcast over it."""
        return {layer.weight: layer.weight_mask() for layer in self.layers}

    def to_record(self) -> dict[str, Any]:
        """Returns JSON values."""
        return {
            "orders": {name: list(order) for name, order in self.orders.items()},
            "layers": [layer.to_record() for layer in self.layers],
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Tiling:
        """Returns the tiling that a record tells of.

        Raises:
            InputError: when the record is not that of a tiling.
        """
        try:
            orders = {str(name): whole_numbers(order) for name, order in record["orders"].items()}
            kinds: list[type[CutLayer]] = [NOfMLayer if "bits" in layer else TiledLayer for layer in record["layers"]]
            layers = tuple(kind.from_record(layer) for kind, layer in zip(kinds, record["layers"], strict=True))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"Not the tiles of an onnxprune plan: {error}.") from error
        for name, order in orders.items():
            if sorted(order) != list(range(len(order))):
                raise InputError(f"Plan, order of {name!r}: it must name each of its {len(order)} channels once.")
        return cls(layers, orders)
