"""The teacher's outputs for samples, worked out once per sample where they fit in memory."""

from __future__ import annotations

import torch

from onnxprune.bridge import OnnxModule
from onnxprune.bridge.tensors import as_tensor
from onnxprune.train.data import Batch
from onnxprune.train.losses import as_tuple

__all__ = ["TeacherOutputs", "batch_inputs"]

_CACHE_BYTES = 512 * 2**20


def batch_inputs(batch: Batch, device: torch.device) -> dict[str, torch.Tensor]:
    """Returns a batch's inputs as tensors on `device`, images in channels-last order."""
    found: dict[str, torch.Tensor] = {}
    for name, array in batch.inputs.items():
        tensor = as_tensor(array, name).to(device)
        if tensor.dim() == 4 and tensor.is_floating_point():
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        found[name] = tensor
    return found


class TeacherOutputs:
    """Outputs of a fixed module by sample.

    Args:
        module: The teacher, in evaluation mode.
        samples: Number of samples of the dataset.
    """

    def __init__(self, module: OnnxModule, samples: int) -> None:
        self._module = module
        self._samples = samples
        self._known = torch.zeros(samples, dtype=torch.bool)
        self._stored: tuple[torch.Tensor, ...] | None = None
        self._worthwhile = True

    def __call__(self, batch: Batch, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Returns the outputs for a batch.

        Args:
            batch: Names the samples.
            inputs: The same batch as tensors.
        """
        rows = torch.from_numpy(batch.rows)
        if self._stored is not None and bool(self._known[rows].all()):
            at = rows.to(self._stored[0].device)
            return tuple(tensor[at] for tensor in self._stored)
        with torch.no_grad():
            outputs = as_tuple(self._module.call_with({}, inputs))
        self._remember(rows, outputs)
        return outputs

    def _remember(self, rows: torch.Tensor, outputs: tuple[torch.Tensor, ...]) -> None:
        if self._stored is None and self._worthwhile:
            per_sample = all(tensor.dim() > 0 and len(tensor) == len(rows) for tensor in outputs)
            size = sum(tensor.element_size() * tensor.numel() // max(len(rows), 1) for tensor in outputs)
            self._worthwhile = per_sample and size * self._samples <= _CACHE_BYTES
            if self._worthwhile:
                self._stored = tuple(tensor.new_empty((self._samples, *tensor.shape[1:])) for tensor in outputs)
        if self._stored is not None:
            for store, tensor in zip(self._stored, outputs, strict=True):
                store[rows.to(store.device)] = tensor
            self._known[rows] = True
