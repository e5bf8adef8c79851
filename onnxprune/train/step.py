"""One step of training: learning rate, forward, backward, clipping, update."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from onnxprune.bridge import OnnxModule
from onnxprune.core.errors import DataError, UsageError
from onnxprune.train.augment import Augment
from onnxprune.train.average import Average
from onnxprune.train.feeding import Fed
from onnxprune.train.losses import Objective, Outputs
from onnxprune.train.precision import Precision
from onnxprune.train.teacher import TeacherOutputs

__all__ = ["Stepper", "seed_for"]

_DROPOUT, _AUGMENT = 0, 1
_COMPILER = ("torch._dynamo", "torch._inductor", "torch._functorch")


def seed_for(seed: int, step: int, rank: int, purpose: int) -> int:
    """Returns the seed of one purpose in one step: what is random depends on no step before."""
    return int(np.random.SeedSequence([seed, step, rank, purpose]).generate_state(1, np.uint64)[0] >> 1)


@dataclass
class Stepper:
    """Trains on one batch.

    Attributes:
        student: What is trained.
        net: Computes the student's outputs and features from its inputs: `Forward`, or what wraps it.
        objective: Gives the loss.
        targets: The teacher's outputs.
        optimizer: Updates the weights.
        rate: Gives the learning rate of a step.
        precision: How the forward pass is computed.
        augment: Changes the inputs.
        average: Takes in the weights after the step, or None.
        grad_clip: Largest norm of the gradient; 0 leaves it.
        seed: Of the run.
        rank: Of this process.
    """

    student: OnnxModule
    net: Callable[..., tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]]
    objective: Objective
    targets: TeacherOutputs
    optimizer: torch.optim.Optimizer
    rate: Callable[[int], float]
    precision: Precision
    augment: Augment | None
    average: Average | None
    grad_clip: float
    seed: int
    rank: int

    def __post_init__(self) -> None:
        self._parameters = [p for p in self.student.parameters() if p.requires_grad]
        self._generator = torch.Generator()
        self._on_gpu = any(p.is_cuda for p in self._parameters)

    def __call__(self, fed: Fed, step: int, share: float = 1.0) -> torch.Tensor:
        """Trains on a batch; returns its loss, detached, on the device.

        Args:
            fed: The batch, on the device.
            step: Counted from 0 over the whole run.
            share: Factor on the gradient, for a process with more or fewer samples than the others.

        Raises:
            DataError: when the batch is too small for BatchNormalization.
            UsageError: when the student cannot be compiled.
        """
        rate = self.rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self._seed_dropout(step)
        inputs = fed.inputs
        if self.augment is not None:
            inputs = self.augment.apply(
                inputs, self._generator.manual_seed(seed_for(self.seed, step, self.rank, _AUGMENT))
            )
        targets = self.targets(fed, inputs)
        loss = self.objective.loss(self._forward(inputs, len(fed)), targets, fed.labels)
        self._descend(loss * share if share != 1.0 else loss)
        if self.average is not None:
            self.average.update(step)
        return loss.detach() * share if share != 1.0 else loss.detach()

    def _seed_dropout(self, step: int) -> None:
        seed = seed_for(self.seed, step, self.rank, _DROPOUT)
        # torch.manual_seed writes down the call stack each time while CUDA is not in use
        torch.default_generator.manual_seed(seed)
        if self._on_gpu:
            torch.cuda.manual_seed(seed)

    def _forward(self, inputs: dict[str, torch.Tensor], samples: int) -> Outputs:
        try:
            with self.precision.autocast():
                return Outputs(*self.net(*(inputs[name] for name in self.student.input_names)))
        except ValueError as error:
            raise DataError(
                f"A batch of {samples} is too small for BatchNormalization ({error}). Use a larger --batch-size, or "
                "more data."
            ) from error
        except RuntimeError as error:
            if not type(error).__module__.startswith(_COMPILER):
                raise
            first = str(error).strip().splitlines()[0]
            raise UsageError(
                f"compile = True: torch.compile failed on this model ({type(error).__name__}: {first}). Train without "
                "it."
            ) from error

    def _descend(self, loss: torch.Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        scaler = self.precision.scaler
        (loss if scaler is None else scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]  # torch's own
        if self.grad_clip > 0:
            if scaler is not None:
                scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self._parameters, self.grad_clip)
        if scaler is None:
            self.optimizer.step()
        else:
            scaler.step(self.optimizer)
            scaler.update()
