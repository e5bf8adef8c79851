"""The teacher's outputs, worked out once per sample where they fit in memory.

They are then made before training, batch by batch in the stored order: what a sample's outputs
are must not depend on the batch in which the student happens to meet it first, or a run that was
interrupted and taken up again would end in other bits than one that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch

from onnxprune.bridge import OnnxModule
from onnxprune.train.feeding import Fed, Feeder
from onnxprune.train.forward import padded
from onnxprune.train.losses import Outputs
from onnxprune.train.samples import Samples
from onnxprune.train.workers import Workers

__all__ = ["TeacherOutputs", "fits_in_memory"]

_MEMORY_BYTES = 512 * 2**20


def fits_in_memory(outputs: Outputs, batch: int, samples: int) -> bool:
    """Returns whether the outputs of all samples can be kept: one row each, 512 MiB in all.

    Args:
        outputs: Those of some batch.
        batch: Samples in that batch.
        samples: Samples in the set.
    """
    tensors = [*outputs.values, *outputs.features.values()]
    if any(tensor.dim() == 0 or len(tensor) != batch for tensor in tensors):
        return False
    return sum(tensor.element_size() * tensor.numel() for tensor in tensors) * samples <= _MEMORY_BYTES * batch


class TeacherOutputs:
    """Outputs of a fixed module by sample.

    Args:
        module: The teacher, in evaluation mode.
        features: Inner tensors that are wanted beside its outputs.
        autocast: Makes the context that it runs in when a batch is worked out on its own.
    """

    def __init__(
        self,
        module: OnnxModule,
        features: Sequence[str] = (),
        autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._module, self._features, self._autocast = module, tuple(features), autocast
        self._stored: list[torch.Tensor] = []

    def prepare(self, data: Samples, feeder: Feeder, batch_size: int, team: Workers, fixed: int | None = None) -> None:
        """Works out the outputs of all samples, each process its part, and keeps them.

        Args:
            data: A stable set.
            feeder: Makes tensors of its batches.
            batch_size: Samples at a time, over all processes.
            team: The processes.
            fixed: Samples that the module takes at once, where it takes no other number.
        """
        with torch.no_grad(), feeder.ahead(data.batches(batch_size, shard=(team.rank, team.size))) as batches:
            for host in batches:
                if len(host):
                    fed = feeder.place(host)
                    outputs = padded(self._module, fed.inputs, self._features, rows=fixed)
                    # recorded in the order of the graph, and asked for in that of the options
                    features = [outputs.features[name] for name in self._features]
                    self._keep(fed.rows, [*outputs.values, *features], len(data))
        if team.size > 1:
            # whatever a process does not know is zero; bool cannot be summed
            self._stored = [
                team.total(store.byte()).bool() if store.dtype == torch.bool else team.total(store)
                for store in self._stored
            ]

    def __call__(self, fed: Fed, inputs: dict[str, torch.Tensor], fixed: int | None = None) -> Outputs:
        """Returns the outputs for a batch.

        Args:
            fed: Names the samples.
            inputs: What the student sees of them, which may differ from `fed.inputs`.
            fixed: As `prepare` takes it.
        """
        if not self._stored:
            with torch.no_grad(), self._autocast():
                return padded(self._module, inputs, self._features, rows=fixed)
        found = [store.index_select(0, fed.rows) for store in self._stored]
        count = len(self._module.output_names)
        return Outputs(tuple(found[:count]), dict(zip(self._features, found[count:], strict=True)))

    def _keep(self, rows: torch.Tensor, tensors: Sequence[torch.Tensor], samples: int) -> None:
        if not self._stored:
            self._stored = [tensor.new_zeros((samples, *tensor.shape[1:])) for tensor in tensors]
        for store, tensor in zip(self._stored, tensors, strict=True):
            store[rows] = tensor
