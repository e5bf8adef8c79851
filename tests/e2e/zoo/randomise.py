"""Parameters that a fresh net leaves trivial, drawn at random.

Zero biases, identity normalisations and layer scales of 1e-6 hide mistakes: a channel whose
bias is forgotten looks right as long as all biases are zero.
"""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["randomise"]


@torch.no_grad()
def randomise(module: nn.Module, seed: int = 1) -> nn.Module:
    """Returns `module` with statistics, biases, scales and other vectors drawn anew, in place."""
    generator = torch.Generator().manual_seed(seed)
    for name, buffer in module.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(0.2 * torch.randn(buffer.shape, generator=generator))
        elif name.endswith("running_var"):
            buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    for name, parameter in module.named_parameters():
        values = _values(name, parameter, generator)
        if values is not None:
            parameter.copy_(values)
    return module


def _values(name: str, parameter: nn.Parameter, generator: torch.Generator) -> torch.Tensor | None:
    """Returns new values for a vector (whatever its unit axes), or None for a weight that is fine as it is."""
    wide = [size for size in parameter.shape if size > 1]
    if len(wide) > 1:
        return None if bool(parameter.any()) else 0.1 * torch.randn(parameter.shape, generator=generator)
    if "bias" in name:
        return 0.1 * torch.randn(parameter.shape, generator=generator)
    if parameter.dim() == 1 or name.endswith("gamma"):
        return 0.7 + 0.6 * torch.rand(parameter.shape, generator=generator)
    return None
