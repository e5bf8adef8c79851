"""The optimizers, and their state as named tensors.

Weight decay acts on weights of two axes and more: a penalty on normalisation vectors and biases
changes what the layer computes without making it any simpler (Goyal et al., "Accurate, Large
Minibatch SGD", 2017, section 5.3).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from onnxprune.train.options import TrainOptions

__all__ = ["make_optimizer", "optimizer_tensors", "restore_optimizer"]


def make_optimizer(module: nn.Module, options: TrainOptions) -> torch.optim.Optimizer:
    """Returns SGD with Nesterov momentum, or AdamW, over all parameters that are trained."""
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": options.decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    if options.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=options.peak_lr, foreach=True)
    return torch.optim.SGD(
        groups, lr=options.peak_lr, momentum=options.momentum, nesterov=options.momentum > 0, foreach=True
    )


def optimizer_tensors(optimizer: torch.optim.Optimizer, module: nn.Module) -> dict[str, torch.Tensor]:
    """Returns "slot/parameter" → tensor for all that the optimizer has gathered so far.

    Slots are "momentum_buffer" of SGD, "exp_avg", "exp_avg_sq" and "step" of AdamW. A parameter
    that had no gradient yet has none.
    """
    found: dict[str, torch.Tensor] = {}
    for name, parameter in module.named_parameters():
        for slot, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, torch.Tensor):
                found[f"{slot}/{name}"] = value
    return found


def restore_optimizer(optimizer: torch.optim.Optimizer, module: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Puts back what `optimizer_tensors` gave; the strides of the tensors are kept."""
    parameters = dict(module.named_parameters())
    optimizer.state.clear()
    for key, tensor in tensors.items():
        slot, _, name = key.partition("/")
        parameter = parameters[name]
        # AdamW counts its steps on the CPU, wherever the parameter is
        optimizer.state[parameter][slot] = tensor if slot == "step" else tensor.to(parameter.device)
