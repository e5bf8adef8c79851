"""A module's outputs, and the inner tensors that the loss reads, from one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from onnxprune.bridge import OnnxModule
from onnxprune.train.losses import Outputs, as_tuple

__all__ = ["Forward", "outputs_of", "padded"]

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


def padded(
    module: OnnxModule,
    inputs: Mapping[str, torch.Tensor],
    features: Sequence[str] = (),
    values: Mapping[str, torch.Tensor] = _NOTHING,
    *,
    rows: int | None,
) -> Outputs:
    """Returns what `module` gives for a batch that may have fewer samples than it takes.

    The last sample is repeated, and what it gives again is cut off.

    Args:
        module: In evaluation mode, where samples do not see each other.
        inputs: As `outputs_of` takes them.
        features: Likewise.
        values: Likewise.
        rows: Samples that the module takes at once; None where it takes any number.
    """
    count = next((len(tensor) for tensor in inputs.values() if tensor.dim()), rows)
    if rows is None or count is None or count >= rows:
        return outputs_of(module, inputs, features, values)
    take = torch.arange(rows).clamp(max=count - 1)
    whole = outputs_of(module, {n: t[take.to(t.device)] if t.dim() else t for n, t in inputs.items()}, features, values)

    def cut(tensor: torch.Tensor) -> torch.Tensor:
        return tensor[:count] if tensor.dim() and len(tensor) == rows else tensor

    return Outputs(tuple(map(cut, whole.values)), {name: cut(tensor) for name, tensor in whole.features.items()})


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
