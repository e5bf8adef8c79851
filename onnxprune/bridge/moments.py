"""Per-channel mean and variance of intermediate tensors over calibration data.

Batches are pooled exactly (Chan, Golub, LeVeque 1979): with counts n, means μ and sums of
squared deviations S of two parts, δ = μ_b − μ_a,

    n = n_a + n_b,   μ = μ_a + δ n_b / n,   S = S_a + S_b + δ² n_a n_b / n.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from onnxprune.bridge.module import OnnxModule
from onnxprune.bridge.tensors import as_tensor
from onnxprune.core.errors import DataError
from onnxprune.graph.values import is_float

__all__ = ["ChannelMoments", "Moments", "feed", "moments"]

Float64 = NDArray[np.float64]
Moments = dict[str, tuple[Float64, Float64]]
InputBatch = Mapping[str, NDArray[Any]]


class ChannelMoments:
    """Mean and variance of one tensor's channels, batch after batch."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Float64 = np.zeros(0)
        self._squares: Float64 = np.zeros(0)

    def add(self, tensor: torch.Tensor) -> None:
        """Pools a batch.

        Args:
            tensor: [batch, channels, …], or [channels] for a tensor of one axis.
        """
        wide = tensor.detach().double()
        flat = wide[None] if wide.dim() == 1 else wide
        dims = [d for d in range(flat.dim()) if d != 1]
        var, mean = torch.var_mean(flat, dims, correction=0)
        count = flat.numel() // flat.shape[1]
        self._pool(count, mean.cpu().numpy(), var.cpu().numpy() * count)

    def _pool(self, count: int, mean: Float64, squares: Float64) -> None:
        if self.count == 0:
            self.count, self.mean, self._squares = count, mean, squares
            return
        total = self.count + count
        delta = mean - self.mean
        self._squares = self._squares + squares + delta**2 * (self.count * count / total)
        self.mean = self.mean + delta * (count / total)
        self.count = total

    @property
    def var(self) -> Float64:
        """The variance over all samples (not the unbiased estimate): float64 [channels]."""
        return self._squares / max(self.count, 1)


def feed(module: OnnxModule, batch: InputBatch) -> dict[str, torch.Tensor]:
    """Returns a batch of arrays as tensors on the device of the module, floats in the type that it reads."""
    device = next((tensor.device for tensor in module.parameters()), torch.device("cpu"))
    return {name: as_tensor(_as_read(module, name, array), name).to(device) for name, array in batch.items()}


def _as_read(module: OnnxModule, name: str, array: NDArray[Any]) -> NDArray[Any]:
    """A model with 16-bit floats is trained as a copy in float32; its data stay what they are."""
    wanted = next((spec.dtype for spec in module.model.inputs() if spec.name == name), None)
    if wanted is None or not (is_float(wanted) and is_float(array.dtype)):
        return array
    return array.astype(wanted, copy=False)


def moments(module: OnnxModule, names: Sequence[str], batches: Iterable[InputBatch]) -> Moments:
    """Returns tensor name → (mean, variance) of its channels (axis 1): float64 [channels] each.

    Args:
        module: Evaluated as at inference, whatever its mode; left in the mode it had.
        names: Names of tensors that nodes compute.
        batches: Input name → array, one mapping per batch.

    Raises:
        DataError: when there is no batch.
    """
    found = {name: ChannelMoments() for name in names}
    training = module.training
    module.eval()
    try:
        with torch.no_grad(), module.watch(names, lambda name, tensor: found[name].add(tensor)):
            for batch in batches:
                module.call_with({}, feed(module, batch))
    finally:
        module.train(training)
    if any(entry.count == 0 for entry in found.values()):
        raise DataError("There is no calibration batch to take means and variances from. Give data with samples.")
    return {name: (entry.mean, entry.var) for name, entry in found.items()}
