"""What channels carry where weights read them, over calibration data."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from onnxprune.axes import leaves
from onnxprune.bridge import OnnxModule
from onnxprune.core.group import Group
from onnxprune.core.shares import normalised
from onnxprune.groups import Analysis, node_label
from onnxprune.groups.analysis import channel_labels
from onnxprune.train.feeding import Fed
from onnxprune.train.forward import outputs_of

__all__ = ["Readings", "mean_magnitudes", "mean_ranks", "read_activations"]

Readings = dict[str, NDArray[np.float64]]
Reader = Callable[[torch.Tensor, int], torch.Tensor]
Place = tuple[str, int, NDArray[np.int64]]


def mean_magnitudes(tensor: torch.Tensor, axis: int) -> torch.Tensor:
    """Returns the mean magnitude at each position of an axis, [axis size]."""
    return tensor.abs().mean([i for i in range(tensor.dim()) if i != axis])


def mean_ranks(tensor: torch.Tensor, axis: int) -> torch.Tensor:
    """Returns the mean rank of the maps at each position of an axis, [axis size].

    A map is [height, width] where two axes follow that of channels behind the samples', else
    [samples, the rest].
    """
    first = tensor.movedim(axis, 0)
    if tensor.dim() == 4 and axis == 1:
        ranks: torch.Tensor = torch.linalg.matrix_rank(first).double().mean(1)
        return ranks
    samples = first.shape[1] if first.dim() > 1 else 1
    ranks = torch.linalg.matrix_rank(first.reshape(len(first), samples, -1)).double()
    return ranks


def read_activations(module: OnnxModule, analysis: Analysis, batches: Iterable[Fed], reader: Reader) -> Readings:
    """Returns group → what `reader` gives of each channel: float64 [size], shares averaged over places.

    Groups that no weight reads from a computed tensor are absent.

    Args:
        module: The model, in evaluation mode.
        analysis: Its analysis.
        batches: Samples.
        reader: Takes a float tensor and an axis, gives one number for each position of it.
    """
    places = {group.name: _places(analysis, group) for group in analysis.groups}
    wanted: dict[str, set[int]] = {}
    for each in places.values():
        for name, axis, _ in each:
            wanted.setdefault(name, set()).add(axis)
    sums: dict[tuple[str, int], torch.Tensor] = {}

    def watch(name: str, tensor: torch.Tensor) -> None:
        for axis in wanted[name]:
            found = reader(tensor.float(), axis).double()
            sums[name, axis] = sums[name, axis] + found if (name, axis) in sums else found

    with torch.no_grad(), module.watch(tuple(wanted), watch):
        for fed in batches:
            outputs_of(module, fed.inputs)
    return {
        group.name: np.mean([_share(group, place, sums) for place in places[group.name]], axis=0)
        for group in analysis.groups
        if places[group.name]
    }


def _share(group: Group, place: Place, sums: dict[tuple[str, int], torch.Tensor]) -> NDArray[np.float64]:
    name, axis, labels = place
    inside = labels >= 0
    total = np.zeros(group.size)
    np.add.at(total, labels[inside], sums[name, axis].cpu().numpy()[inside])
    return normalised(total)


def _places(analysis: Analysis, group: Group) -> list[Place]:
    """Where weights read a group from a computed tensor: the tensor, its axis, the channel at each position."""
    model, atom = analysis.inference.model, analysis.atoms[group.name]
    readers = {member.node for member in group.members if member.role == "consumer"}
    computed = {tensor.name for node in model.nodes for tensor in node.outputs}
    found: dict[tuple[str, int], Place] = {}
    for node in model.nodes:
        if node_label(node) not in readers:
            continue
        for tensor in node.inputs:
            if tensor.name not in computed:
                continue
            for axis, along in enumerate(analysis.inference.axes(tensor.name)):
                if atom in leaves(along):
                    found.setdefault((tensor.name, axis), (tensor.name, axis, channel_labels(along, atom)))
    return list(found.values())
