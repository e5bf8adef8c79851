"""How a slim model is retrained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, get_args

from onnxprune.core.errors import UsageError
from onnxprune.train.augment_options import parse_augment_options
from onnxprune.train.schedules import OriginalDecay, ScheduleName, ScheduleOptions

__all__ = ["AmpMode", "Distill", "OptimizerName", "TrainOptions"]

AmpMode = Literal["auto", "off", "bf16", "fp16"]
Distill = Literal["auto", "mse", "cosine"]
OptimizerName = Literal["sgd", "adamw"]

_PEAK: Mapping[str, float] = {"sgd": 0.05, "adamw": 1e-3}
_DECAY: Mapping[str, float] = {"sgd": 5e-4, "adamw": 0.01}
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "optimizer": get_args(OptimizerName),
    "distill": get_args(Distill),
    "amp": get_args(AmpMode),
    "device": ("auto", "cpu", "cuda"),
}
_AT_LEAST_ONE = ("epochs", "batch_size")
_POSITIVE = ("lr", "temperature")
_SHARES = ("distill_weight", "label_smoothing")
_BELOW_ONE = ("momentum", "ema")


@dataclass(frozen=True)
class TrainOptions:
    """Options of `train`.

    Attributes:
        epochs: Passes over the data.
        batch_size: Samples per step, over all processes together.
        optimizer: "sgd" (Nesterov momentum) or "adamw".
        lr: Peak learning rate; None stands for 0.05 (sgd) or 0.001 (adamw), see `peak_lr`.
        momentum: Nesterov momentum of sgd.
        weight_decay: Penalty on weights of two axes and more (biases and normalisation vectors
            have none), added to the gradient by sgd, decoupled from it by adamw; None stands
            for 5e-4 (sgd) or 0.01 (adamw), see `decay`.
        schedule: The learning rate over the run, see `onnxprune.train.schedules`.
        warmup: Share of all steps during which the learning rate rises; None is the schedule's own.
        original_epochs: Length in epochs of the training that made the original. An assumption:
            an ONNX file does not say.
        final_lr_ratio: Last over largest learning rate of that training.
        original_decay: The shape of that training's learning rate after its warm-up.
        lr_scale: Factor on the peak (what "allr" takes from the weights' norms).
        schedule_start: Epochs of the schedule that lie behind, where several runs share one.
        schedule_epochs: Epochs of the whole schedule; 0 is this run's own.
        distill_weight: Share of distillation in the loss where there are labels, too; without
            labels the loss is distillation alone.
        temperature: Softens both distributions in distillation.
        distill: How outputs that are no class scores are compared.
        feature_weight: Weight of the distance between inner tensors in the loss; 0 leaves it out.
        features: Names of these tensors.
        label_smoothing: Share of probability spread over all classes in the label loss.
        grad_clip: Largest norm of the whole gradient; 0 leaves it as it is.
        ema: Decay per step of a running average of the weights, which is then what is evaluated
            and kept; 0 is off.
        amp: Mixed precision. "auto": bf16 on a GPU that computes in it, else off.
        early_stop: Stop after so many epochs without a better score on validation data; 0 is off.
        augment: Random changes of images, see `onnxprune.train.augment`; "" is none.
        loss: A user's loss, "package.module:name"; "" is none.
        metric: A user's metric, likewise.
        compile: Whether `torch.compile` translates the student.
        checkpoint_seconds: Time between checkpoints within an epoch; 0 writes one at every step.
        seed: Decides the order of samples, augmentation and dropout.
        device: "auto" (a GPU that PyTorch can use, else the CPU), "cpu", or "cuda".

    Raises:
        UsageError: when a value lies outside its domain.
    """

    epochs: int = 3
    batch_size: int = 64
    optimizer: OptimizerName = "sgd"
    lr: float | None = None
    momentum: float = 0.9
    weight_decay: float | None = None
    schedule: ScheduleName = "llr"
    warmup: float | None = None
    original_epochs: float = 100.0
    final_lr_ratio: float = 0.01
    original_decay: OriginalDecay = "cosine"
    lr_scale: float = 1.0
    schedule_start: int = 0
    schedule_epochs: int = 0
    distill_weight: float = 0.5
    temperature: float = 2.0
    distill: Distill = "auto"
    feature_weight: float = 0.0
    features: tuple[str, ...] = ()
    label_smoothing: float = 0.0
    grad_clip: float = 5.0
    ema: float = 0.0
    amp: AmpMode = "auto"
    early_stop: int = 0
    augment: str = ""
    loss: str = ""
    metric: str = ""
    compile: bool = False
    checkpoint_seconds: float = 60.0
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and (not math.isfinite(value) or value < 0):
                raise UsageError(f"{field.name} = {value}: must be a finite number, not negative.")
        for name in _AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise UsageError(f"{name} = {getattr(self, name)}: must be at least 1.")
        for name in _POSITIVE:
            if getattr(self, name) is not None and getattr(self, name) <= 0:
                raise UsageError(f"{name} = {getattr(self, name)}: must be greater than zero.")
        for name in _SHARES:
            if getattr(self, name) is not None and getattr(self, name) > 1:
                raise UsageError(f"{name} = {getattr(self, name)}: must lie in 0..1.")
        for name in _BELOW_ONE:
            if getattr(self, name) >= 1:
                raise UsageError(f"{name} = {getattr(self, name)}: must be at least 0 and less than 1.")
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise UsageError(f"{name} = {getattr(self, name)!r}: must be one of {', '.join(known)}.")
        parse_augment_options(self.augment)
        if bool(self.features) != (self.feature_weight > 0):
            raise UsageError(
                f"features = {', '.join(self.features) or 'none'} and feature_weight = {self.feature_weight:g}: inner "
                "tensors are learned where both are given. Give both, or neither."
            )
        if self.schedule_start + self.epochs > (self.schedule_epochs or self.epochs):
            raise UsageError(
                f"schedule_epochs = {self.schedule_epochs}: the schedule ends before the run, which has {self.epochs} "
                f"epochs from schedule_start = {self.schedule_start} on."
            )
        _ = self.schedule_options  # it checks its own

    @property
    def peak_lr(self) -> float:
        """The largest learning rate: `lr`, or the optimizer's default."""
        return _PEAK[self.optimizer] if self.lr is None else self.lr

    @property
    def decay(self) -> float:
        """The weight decay: `weight_decay`, or the optimizer's default."""
        return _DECAY[self.optimizer] if self.weight_decay is None else self.weight_decay

    @property
    def schedule_options(self) -> ScheduleOptions:
        """What the learning rate's schedule is made from."""
        return ScheduleOptions(
            name=self.schedule,
            peak=self.peak_lr,
            warmup=self.warmup,
            original_epochs=self.original_epochs,
            final_lr_ratio=self.final_lr_ratio,
            original_decay=self.original_decay,
            lr_scale=self.lr_scale,
        )
