"""Running statistics of BatchNormalization, taken anew from calibration data.

After channels went, the stored mean and variance belong to another network. Each batch passes
in training mode, so that every layer sees inputs normalised by its own batch, and the moments
of each layer's input are pooled over all batches: a plain average, no momentum.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from onnxprune.bridge.module import OnnxModule
from onnxprune.bridge.moments import ChannelMoments, InputBatch, feed
from onnxprune.bridge.roles import STATISTIC_SLOTS, frozen_statistics, readers
from onnxprune.core.errors import DataError

__all__ = ["reestimate"]


def reestimate(module: OnnxModule, batches: Iterable[InputBatch]) -> None:
    """Sets every BatchNormalization's running mean and variance to those of the batches.

    Exact for one batch; over several, each batch is normalised by its own statistics, so give
    batches of a hundred samples or more. Does nothing where there is no BatchNormalization.

    Args:
        module: Its statistics change; its mode does not.
        batches: Input name → array, one mapping per batch.

    Raises:
        DataError: when there is no batch, or batches are too small for statistics.
    """
    layers = _layers(module)
    if not layers:
        return
    found = {source: ChannelMoments() for source, _, _ in layers}
    training = module.training
    module.train()
    try:
        with torch.no_grad(), module.watch(list(found), lambda name, tensor: found[name].add(tensor)):
            for batch in batches:
                module.call_with({}, feed(module, batch))
    except ValueError as error:
        raise DataError(
            f"Statistics of a batch need more than one value per channel ({error}). Use larger batches."
        ) from error
    finally:
        module.train(training)
    if any(entry.count == 0 for entry in found.values()):
        raise DataError("There is no calibration batch to take running statistics from. Give data with samples.")
    _store(module, layers, found)


def _layers(module: OnnxModule) -> list[tuple[str, str, str]]:
    """(input tensor, running mean, running variance) of each layer that owns its statistics."""
    read_by = readers(module.model)
    return [
        (node.inputs[0].name, node.inputs[STATISTIC_SLOTS[0]].name, node.inputs[STATISTIC_SLOTS[1]].name)
        for node in module.model.nodes
        if node.op == "BatchNormalization" and not frozen_statistics(node, read_by)
    ]


def _store(module: OnnxModule, layers: list[tuple[str, str, str]], found: dict[str, ChannelMoments]) -> None:
    buffers = dict(module.named_buffers())
    with torch.no_grad():
        for source, mean, var in layers:
            buffers[mean].copy_(torch.from_numpy(found[source].mean))
            buffers[var].copy_(torch.from_numpy(found[source].var))
