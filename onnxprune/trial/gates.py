"""Where a group's channels are switched on and off inside a model that keeps its shapes.

A mask m over the channels of a group multiplies the slices of the weights that read the group,

    W'[…, p, …] = m[channel of p] · W[…, p, …],

so that a channel with m = 0 reaches nobody, whatever biases, shifts or activations made of it,
and ∂L/∂m there still says what the channel would be worth. Where no weight reads a group (the
inner width of q·kᵀ, which two computed tensors contract), the weights that write it are
multiplied instead, of one node if that is enough. Which places are enough is not guessed: with
random channels dropped, the gated model must compute what the masked original computes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from onnxprune.bridge import OnnxModule, masked_parameters, to_torch
from onnxprune.bridge.moments import feed
from onnxprune.core.group import Group, Member
from onnxprune.core.plan import Plan
from onnxprune.graph import Model
from onnxprune.groups import Analysis
from onnxprune.groups.masking import emptied_model
from onnxprune.train.losses import as_tuple

__all__ = ["Gate", "Gates", "find_gates"]

InputBatch = Mapping[str, NDArray[Any]]
_DROPPED = 0.5
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Gate:
    """All places that one group's mask multiplies.

    Attributes:
        group: Name of the group.
        places: (initializer, axis, labels): labels is the channel of the group at each position
            of the axis, int64 [axis size], -1 where a position does not belong to the group.
    """

    group: str
    places: tuple[tuple[str, int, torch.Tensor], ...]


class Gates:
    """The gates of a model's groups.

    Args:
        gates: One for each group that can be gated.

    Attributes:
        groups: Names of these groups.
    """

    def __init__(self, gates: Sequence[Gate]) -> None:
        self.groups = tuple(gate.group for gate in gates)
        self._gates = tuple(gates)

    def values(self, module: OnnxModule, masks: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Returns initializer → weight under the masks, for those that a mask reaches.

        Args:
            module: Holds the weights, under the names that the gates know.
            masks: Group → mask, float [channels]; groups that are absent keep all channels.
        """
        slices: dict[str, list[tuple[int, torch.Tensor]]] = {}
        for gate in self._gates:
            if gate.group not in masks:
                continue
            mask = masks[gate.group]
            extended = torch.cat([mask, mask.new_ones(1)])  # at label -1
            for name, axis, labels in gate.places:
                chosen = labels.to(mask.device) % len(extended)
                slices.setdefault(name, []).append((axis, extended.index_select(0, chosen)))
        return masked_parameters(module, slices)


def find_gates(model: Model, analysis: Analysis, inputs: InputBatch, seed: int = 0) -> Gates:
    """Returns gates for every group that can have one.

    Args:
        model: The model, with floating-point weights.
        analysis: Its analysis.
        inputs: Some samples, input name → array, to check the gates on.
        seed: Draws the channels that are dropped in the check.
    """
    module = to_torch(model).eval()
    floats = {name for name, tensor in module.named_parameters() if tensor.is_floating_point()}
    floats |= {name for name, tensor in module.named_buffers() if tensor.is_floating_point()}
    choices = {group.name: _choices(analysis, group, floats) for group in analysis.groups}
    check = _Check(model, analysis, module, inputs, seed)
    first = {name: gates[0] for name, gates in choices.items() if gates}
    exact = [group.name for group in analysis.groups if group.name in first and not group.approximate]
    if not check([first[name] for name in exact]):
        for name in exact:
            fitting = [gate for gate in choices[name] if check([gate])]
            if fitting:
                first[name] = fitting[0]
            else:
                del first[name]
    return Gates(list(first.values()))


def _choices(analysis: Analysis, group: Group, floats: set[str]) -> list[Gate]:
    """Ways to gate a group, the best one first."""
    usable = [member for member in group.members if member.initializer in floats]
    readers = [member for member in usable if member.role == "consumer"]
    first = next((member.node for member in usable if member.role == "producer"), "")
    writers = [member for member in usable if member.node == first and member.role != "consumer"]
    return [_gate(analysis, group, members) for members in (readers, writers, usable) if members]


def _gate(analysis: Analysis, group: Group, members: Sequence[Member]) -> Gate:
    places = {(member.initializer, member.axis): member for member in members}
    return Gate(
        group.name,
        tuple(
            (name, axis, torch.from_numpy(np.ascontiguousarray(analysis.labels(group.name, member))))
            for (name, axis), member in places.items()
        ),
    )


class _Check:
    """Compares gated models with masked originals."""

    def __init__(self, model: Model, analysis: Analysis, module: OnnxModule, inputs: InputBatch, seed: int) -> None:
        self._model, self._analysis, self._module = model, analysis, module
        self._inputs = feed(module, inputs)
        rng = np.random.default_rng(seed)
        self._kept = {}
        for name, size in analysis.sizes.items():
            kept = rng.random(size) >= _DROPPED
            kept[rng.integers(size)] = True
            self._kept[name] = kept

    def __call__(self, gates: Sequence[Gate]) -> bool:
        """Returns whether the model under these gates is the masked original, on groups of theirs alone."""
        sizes = self._analysis.sizes
        dropped = {gate.group for gate in gates}
        kept = {n: tuple(np.flatnonzero(self._kept[n] | (n not in dropped)).tolist()) for n in sizes}
        masked = to_torch(emptied_model(self._model, self._analysis, Plan("", sizes, kept))).eval()
        masks = {name: torch.from_numpy(self._kept[name]).float() for name in dropped}
        with torch.no_grad():
            expected = masked.call_with({}, self._inputs)
            found = self._module.call_with(Gates(gates).values(self._module, masks), self._inputs)
        return all(_close(a, b) for a, b in zip(as_tuple(found), as_tuple(expected), strict=True))


def _close(found: torch.Tensor, expected: torch.Tensor) -> bool:
    if not expected.is_floating_point():
        return bool((found == expected).float().mean() > 1 - _TOLERANCE)
    gap = (found - expected).abs().max() / (expected.abs().max() + torch.finfo(expected.dtype).tiny)
    return bool(gap <= _TOLERANCE)
