"""Where the blocks of tiled weights are switched on and off.

A layer cut in output tiles keeps the same number of input blocks in each of them. Let every tile rank its
blocks, the best first. A mask m over ranks then multiplies the block of rank j of every tile by m[j],

    W'[k, n] = m[rank(k, n)] · W[k, n],

so that a layer whose first r ranks are on is the layer that keeps r blocks in each tile, and what
allocators learn or decide about the channels of a group holds for the ranks of a layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from onnxprune.bridge import OnnxModule
from onnxprune.core.errors import InternalError
from onnxprune.trial.switches import Switches

__all__ = ["BlockGate", "BlockGates"]


@dataclass(frozen=True, eq=False)
class BlockGate:
    """One tiled weight.

    Attributes:
        group: What a mask is given for.
        initializer: The weight.
        ranks: Rank of the block that an entry lies in, within its tile, int64, to be broadcast over the weight.
    """

    group: str
    initializer: str
    ranks: NDArray[np.int64]


class BlockGates:
    """The gates of a model's tiled weights; see `onnxprune.trial.switches.Switches`.

    Args:
        gates: One for each layer; no two of one weight.
        others: What acts on the weights besides, such as the gates of channels.

    Raises:
        InternalError: when two gates are of one weight.

    Attributes:
        groups: Names of what a mask can be given for.
    """

    def __init__(self, gates: tuple[BlockGate, ...], others: Switches | None = None) -> None:
        if len({gate.initializer for gate in gates}) < len(gates):
            raise InternalError("two gates switch blocks of one weight")
        self._others = others
        self.groups = (*(others.groups if others is not None else ()), *(gate.group for gate in gates))
        self._ranks = {gate.group: (gate.initializer, torch.from_numpy(gate.ranks)) for gate in gates}

    def values(self, module: OnnxModule, masks: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Returns initializer → weight under the masks; see `Switches.values`."""
        parameters = dict(module.named_parameters())
        found = {} if self._others is None else self._others.values(module, masks)
        for group, (name, ranks) in self._ranks.items():
            mask = masks.get(group)
            if mask is not None:
                factors = mask.index_select(0, ranks.reshape(-1).to(mask.device)).reshape(ranks.shape)
                found[name] = found.get(name, parameters[name]) * factors
        return found
