"""How many samples a model can take at once while it is trained.

A file with a static batch dimension often works for any number of samples, and sometimes bakes
its own into a Reshape. Two batches through the module tell: once together, once one by one.
"""

from __future__ import annotations

import numpy as np
import torch

from onnxprune.bridge import OnnxModule
from onnxprune.core.errors import DataError, ModelError
from onnxprune.train.data import Dataset
from onnxprune.train.losses import as_tuple
from onnxprune.train.teacher import batch_inputs

__all__ = ["usable_batch_size"]

_TOLERANCE = 1e-3


def usable_batch_size(module: OnnxModule, data: Dataset, wanted: int) -> int:
    """Returns `wanted`, or the static batch size of a model that works for no other.

    Args:
        module: The model, in evaluation mode.
        data: Samples to try it on.
        wanted: Samples per step that were asked for.

    Raises:
        ModelError: when the model takes one sample at a time only.
        DataError: when there are fewer samples than the model takes at once.
    """
    static = {spec.shape[0] for spec in module.model.inputs() if spec.shape and isinstance(spec.shape[0], int)}
    if len(static) != 1 or wanted in static:
        return wanted
    (size,) = static
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


def _takes_any(module: OnnxModule, data: Dataset, size: int) -> bool:
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    rows = np.arange(2 * size, dtype=np.intp)
    batches = [data.batch(part) for part in (rows, rows[:size], rows[size:])]
    with torch.no_grad():
        parts = [as_tuple(module.call_with({}, batch_inputs(batch, device))) for batch in batches[1:]]
        try:
            together = as_tuple(module.call_with({}, batch_inputs(batches[0], device)))
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
