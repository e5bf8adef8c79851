"""A module's outputs, and the inner tensors that the loss reads, from one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from onnxprune.bridge import OnnxModule
from onnxprune.train.losses import Outputs, as_tuple

__all__ = ["Forward", "outputs_of"]

_NOTHING: Mapping[str, torch.Tensor] = {}


def outputs_of(
    module: OnnxModule,
    inputs: Mapping[str, torch.Tensor],
    features: Sequence[str] = (),
    values: Mapping[str, torch.Tensor] = _NOTHING,
) -> Outputs:
    """Returns what `module` gives for a batch.

    Args:
        module: In either mode.
        inputs: Input name → tensor; names that it does not read are left aside.
        features: Tensors to return beside the outputs.
        values: Stand in for parameters and buffers of their names.
    """
    read = {name: inputs[name] for name in module.input_names}
    if not features:
        return Outputs(as_tuple(module.call_with(values, read)))
    with module.record(features) as tape:
        return Outputs(as_tuple(module.call_with(values, read)), dict(tape))


class Forward(nn.Module):
    """The student as `DistributedDataParallel` and `torch.compile` take it: tensors in, tensors out.

    The features are outputs, too, so that their gradients are waited for. Inputs go by position:
    an ONNX name need not be a Python name.

    Args:
        module: The student.
        features: Tensors to return beside the outputs.
    """

    def __init__(self, module: OnnxModule, features: Sequence[str]) -> None:
        super().__init__()
        self.student = module
        self._features = tuple(features)

    def forward(self, *inputs: torch.Tensor) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
        """Returns the outputs and the features for inputs in the order of the student's `input_names`."""
        named = dict(zip(self.student.input_names, inputs, strict=True))
        found = outputs_of(self.student, named, self._features)
        return found.values, dict(found.features)
