"""How a slim model is retrained."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from onnxprune.core.errors import UsageError

__all__ = ["TrainOptions"]


@dataclass(frozen=True)
class TrainOptions:
    """Options of `train`.

    Attributes:
        epochs: Passes over the data.
        batch_size: Samples per step.
        lr: Peak learning rate of SGD.
        momentum: Nesterov momentum.
        weight_decay: L2 penalty on weights of two axes and more; biases and normalisation
            vectors have none.
        warmup: Share of all steps during which the learning rate rises from zero.
        distill_weight: Share of distillation in the loss where there are labels, too; without
            labels the loss is distillation alone.
        temperature: Softens both distributions in distillation.
        label_smoothing: Share of probability spread over all classes in the label loss.
        grad_clip: Largest norm of the whole gradient; 0 leaves it as it is.
        seed: Decides the order of samples.
        device: "auto" (a GPU that PyTorch can use, else the CPU), "cpu", or "cuda".
    """

    epochs: int = 3
    batch_size: int = 128
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup: float = 0.05
    distill_weight: float = 0.5
    temperature: float = 2.0
    label_smoothing: float = 0.0
    grad_clip: float = 5.0
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and (not math.isfinite(value) or value < 0):
                raise UsageError(f"{field.name} = {value}: must be a finite number, not negative.")
        for name, low in (("epochs", 1), ("batch_size", 1), ("seed", 0)):
            if getattr(self, name) < low:
                raise UsageError(f"{name} = {getattr(self, name)}: must be at least {low}.")
        for name in ("lr", "temperature"):
            if getattr(self, name) <= 0:
                raise UsageError(f"{name} = {getattr(self, name)}: must be greater than zero.")
        for name in ("warmup", "distill_weight", "momentum", "label_smoothing"):
            if getattr(self, name) > 1:
                raise UsageError(f"{name} = {getattr(self, name)}: must lie in 0..1.")
        if self.device not in ("auto", "cpu", "cuda"):
            raise UsageError(f"device = {self.device!r}: must be auto, cpu or cuda.")
