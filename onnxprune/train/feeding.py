"""Batches of arrays as tensors on the device that trains.

A copy goes straight from the array into memory of PyTorch, whose alignment does not vary: sums
over memory that starts elsewhere may be added up in another order, and end in other bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from onnxprune.bridge import OnnxModule
from onnxprune.bridge.tensors import as_tensor
from onnxprune.graph.values import is_float
from onnxprune.train.prefetch import Prefetch
from onnxprune.train.samples import Batch

__all__ = ["Fed", "Feeder"]


@dataclass(frozen=True)
class Fed:
    """A batch as tensors.

    Attributes:
        inputs: Input name → tensor [rows, …]; images lie channels-last in memory.
        labels: [rows, …], or None.
        rows: int64 [rows]: positions in the set.
    """

    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor | None
    rows: torch.Tensor

    def __len__(self) -> int:
        return len(self.rows)


class Feeder:
    """Makes tensors of batches.

    Args:
        module: Its inputs' element types are what float arrays become.
        device: Where the tensors go.
    """

    def __init__(self, module: OnnxModule, device: torch.device) -> None:
        self.device = device
        self._pinned = device.type == "cuda"
        self._dtypes = {spec.name: spec.dtype for spec in module.model.inputs()}

    def ahead(self, batches: Iterator[Batch]) -> Prefetch[Fed]:
        """Returns a context that yields the batches on the host, made ahead in a thread; `place` moves them."""
        return Prefetch(self.prepare(batch) for batch in batches)

    def prepare(self, batch: Batch) -> Fed:
        """Returns a batch as tensors in the host's memory; uses no operation of PyTorch that runs in threads."""
        inputs = {name: self._input(name, array) for name, array in batch.inputs.items()}
        labels = None if batch.labels is None else self._copy("labels", batch.labels)
        return Fed(inputs, labels, self._copy("rows", batch.rows.astype(np.int64, copy=False)))

    def place(self, fed: Fed) -> Fed:
        """Returns a batch on the device; labels stay, since the loss looks at them before it moves them."""
        if self.device.type == "cpu":
            return fed
        return replace(
            fed,
            inputs={name: self._move(tensor) for name, tensor in fed.inputs.items()},
            rows=self._move(fed.rows),
        )

    def _move(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self.device, non_blocking=True)

    def _input(self, name: str, array: NDArray[Any]) -> torch.Tensor:
        wanted = self._dtypes.get(name)
        if wanted is not None and is_float(array.dtype) and is_float(wanted):
            array = array.astype(wanted, copy=False)
        if array.ndim == 4 and is_float(array.dtype):
            return self._copy(name, array.transpose(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self._copy(name, array)

    def _copy(self, name: str, array: NDArray[Any]) -> torch.Tensor:
        try:
            dtype = torch.from_numpy(np.empty(0, array.dtype)).dtype
        except TypeError:  # bfloat16, or a type that as_tensor names
            return as_tensor(np.ascontiguousarray(array), name)
        tensor = torch.empty(array.shape, dtype=dtype, pin_memory=self._pinned)
        np.copyto(tensor.numpy(), array)
        return tensor
