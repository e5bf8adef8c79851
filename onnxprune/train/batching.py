"""How many samples a model can take at once while it is trained.

A file with a static batch dimension often works for any number of samples, and sometimes bakes
its own into a Reshape. Two batches through the module tell: once together, once one by one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from onnxprune.bridge import OnnxModule
from onnxprune.core.errors import DataError, ModelError, UsageError
from onnxprune.train.feeding import Feeder
from onnxprune.train.forward import outputs_of
from onnxprune.train.samples import Batch, Samples
from onnxprune.train.workers import Workers

__all__ = ["calibration_inputs", "global_batch_size", "static_batch_size", "usable_batch_size"]

_TOLERANCE = 1e-3
CALIBRATION_BATCH = 128


def static_batch_size(module: OnnxModule) -> int | None:
    """Returns the batch dimension of the model's inputs where the file fixes it, else None."""
    static = {spec.shape[0] for spec in module.model.inputs() if spec.shape and isinstance(spec.shape[0], int)}
    return static.pop() if len(static) == 1 else None


def calibration_inputs(
    module: OnnxModule, data: Samples, samples: int, rng: np.random.Generator
) -> list[dict[str, NDArray[Any]]]:
    """Returns batches of inputs that the model takes, of up to `samples` samples drawn without repeats.

    Args:
        module: The model, in either mode.
        data: Samples.
        samples: How many are wanted.
        rng: Draws them.

    Raises:
        ModelError: when the model takes one sample at a time only.
        DataError: when there are fewer samples than the model takes at once.
    """
    training = module.training
    module.eval()
    size = usable_batch_size(module, data, CALIBRATION_BATCH)
    module.train(training)
    drawn = data.calibration(max(samples, size), rng, size)
    if size != CALIBRATION_BATCH:
        drawn = tuple(batch for batch in drawn if len(batch.rows) == size)
    return [batch.inputs for batch in drawn]


def global_batch_size(module: OnnxModule, data: Samples, wanted: int, team: Workers) -> int:
    """Returns the samples per step over all processes.

    Args:
        module: The model, in evaluation mode.
        data: Training samples.
        wanted: Samples per step that were asked for, over all processes.
        team: The processes.

    Raises:
        UsageError: when the processes cannot share `wanted` evenly.
        ModelError: when the model takes one sample at a time only.
        DataError: when there are fewer samples than the model takes at once, or than processes.
    """
    if wanted % team.size:
        raise UsageError(
            f"batch_size = {wanted} cannot be shared evenly by {team.size} processes. Give a multiple of {team.size}."
        )
    if len(data) < team.size:
        raise DataError(f"{len(data)} samples are too few for {team.size} processes. Start fewer, or give more data.")
    return usable_batch_size(module, data, wanted // team.size) * team.size


def usable_batch_size(module: OnnxModule, data: Samples, wanted: int) -> int:
    """Returns `wanted`, or the static batch size of a model that works for no other.

    Args:
        module: The model, in evaluation mode.
        data: Samples to try it on.
        wanted: Samples per step that were asked for.

    Raises:
        ModelError: when the model takes one sample at a time only.
        DataError: when there are fewer samples than the model takes at once.
    """
    size = static_batch_size(module)
    if size is None or (wanted == size and len(data) >= size):
        return wanted
    if len(data) < size:
        raise DataError(f"The model takes {size} samples at once, the data has {len(data)}. Give at least {size}.")
    if len(data) >= 2 * size and _takes_any(module, data, size):
        return wanted
    if size == 1:
        raise ModelError(
            "The model takes one sample at a time: its batch dimension is 1, and something in the graph depends on "
            "it. Retraining needs batches: export the model with a dynamic batch dimension, or compress without data."
        )
    return size


def _takes_any(module: OnnxModule, data: Samples, size: int) -> bool:
    feeder = Feeder(module, next((p.device for p in module.parameters()), torch.device("cpu")))
    whole = data.first(2 * size)
    fed = [feeder.place(feeder.prepare(part)) for part in (whole, _part(whole, 0, size), _part(whole, size, 2 * size))]
    with torch.no_grad():
        parts = [outputs_of(module, part.inputs).values for part in fed[1:]]
        try:
            together = outputs_of(module, fed[0].inputs).values
        except RuntimeError:
            return False
    for joined, first, second in zip(together, *parts, strict=True):
        if first.dim() == 0 or joined.shape[0] != 2 * first.shape[0]:
            return False
        apart = torch.cat((first, second))
        scale = float(apart.double().abs().max()) + 1e-12
        if not float((joined.double() - apart.double()).abs().max()) <= _TOLERANCE * scale:
            return False
    return True


def _part(batch: Batch, start: int, stop: int) -> Batch:
    inputs = {name: array[start:stop] for name, array in batch.inputs.items()}
    return Batch(inputs, None, np.arange(stop - start, dtype=np.intp))
