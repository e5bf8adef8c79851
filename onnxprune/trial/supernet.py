"""A model that learns while masks switch its channels on and off.

Weights see one part of the data and masks are judged on another, so that keep ratios are not
chosen by what the weights have learned by heart (DSA, Ning et al. 2020, section 3.4).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import numpy as np
import torch

from onnxprune.bridge import OnnxModule
from onnxprune.core.errors import DataError, InternalError, OnnxPruneError
from onnxprune.train.augment import parse_augment
from onnxprune.train.batching import usable_batch_size
from onnxprune.train.dataset import Dataset
from onnxprune.train.feeding import Fed, Feeder
from onnxprune.train.forward import outputs_of
from onnxprune.train.losses import Objective, Outputs
from onnxprune.train.optimizers import make_optimizer
from onnxprune.train.options import TrainOptions
from onnxprune.train.samples import Batch, Samples
from onnxprune.train.schedules import make_schedule
from onnxprune.train.setup import arrange, make_precision, settings
from onnxprune.train.step import Stepper
from onnxprune.train.teacher import TeacherOutputs
from onnxprune.train.workers import pick_device, workers
from onnxprune.trial.switches import Switches

__all__ = ["Supernet", "SupernetOptions"]

Masks = Mapping[str, torch.Tensor]
_KEPT_BATCHES = 64
_WARMUP = 0.05


@dataclass(frozen=True)
class SupernetOptions:
    """How the weights learn.

    Attributes:
        train: Batch size, optimizer, losses, device and seed; its schedule and length are not used.
        epochs: Passes of the weights over their part of the data; a fraction is a part of one.
        held_out: Share of the data that masks are judged on.
    """

    train: TrainOptions
    epochs: float = 0.5
    held_out: float = 0.1


class Supernet:
    """A student under masks, its teacher, and two endless streams of batches.

    A context: inside it PyTorch's random state and flags are its own.

    Args:
        student: Learns in place; float32, in any mode.
        teacher: The original.
        gates: Where masks act, by names of the student's weights.
        data: Training samples.
        options: How the weights learn.

    Attributes:
        steps: Steps of the weights that `options` ask for, at least one.

    Raises:
        ModelError: when no output can be trained towards, or the model takes one sample only.
        DataError: when the data is too small for its batches.
    """

    def __init__(
        self, student: OnnxModule, teacher: OnnxModule, gates: Switches, data: Samples, options: SupernetOptions
    ) -> None:
        self._student, self._gates, self._options = student, gates, options
        train = options.train
        self._device = pick_device(train.device, workers())
        for module in (student, teacher):
            module.to(self._device)
            arrange(module, torch.channels_last)
            module.eval()
        self._feeder = Feeder(teacher, self._device)
        self._batch_size = usable_batch_size(teacher, data, train.batch_size)
        self._learned, self._judged, count = self._parts(data)
        self.steps = max(1, round(options.epochs * count / self._batch_size))
        self._masks: Masks = {}
        self._kept: list[Fed] = []
        self._stepper = self._make_stepper(
            teacher, self._feeder.place(self._feeder.prepare(data.first(self._batch_size)))
        )
        self._done = 0
        self._settings = settings(self._device)

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups that masks can switch."""
        return self._gates.groups

    def __enter__(self) -> Self:
        self._settings.__enter__()
        self._student.train()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._settings.__exit__(kind, error, trace)
        arrange(self._student, torch.contiguous_format)
        self._student.to("cpu").eval()

    def learn(self, masks: Masks) -> float:
        """Moves the weights one step under masks; returns the loss.

        Args:
            masks: Group → 0 or 1 by channel, or something between, float [channels].

        Raises:
            OnnxPruneError: when the loss is not finite.
        """
        self._masks = self._placed(masks)
        loss = float(self._stepper(next(self._learned), self._done))
        self._done += 1
        if not np.isfinite(loss):
            raise OnnxPruneError(
                f"The search for keep ratios diverged: the loss is not finite at step {self._done} of {self.steps}. "
                f"Run again with a lower --lr, such as {self._options.train.peak_lr / 4:.2g}, or another --allocator."
            )
        return loss

    def loss(self, masks: Masks) -> torch.Tensor:
        """Returns the loss of a held-out batch under masks; gradients reach the masks."""
        fed, stepper = next(self._judged), self._stepper
        with stepper.precision.autocast():
            outputs = outputs_of(
                self._student,
                fed.inputs,
                stepper.objective.features,
                self._gates.values(self._student, self._placed(masks)),
            )
        return stepper.objective.loss(outputs, stepper.targets(fed, fed.inputs), fed.labels)

    def score(self, masks: Masks, batches: int) -> float:
        """Returns the mean loss of the first held-out batches, the same in every call, in evaluation mode."""
        while len(self._kept) < batches:
            self._kept.append(next(self._judged))
        stepper, total = self._stepper, 0.0
        self._student.eval()
        with torch.no_grad(), stepper.precision.autocast():
            values = self._gates.values(self._student, self._placed(masks))
            for fed in self._kept[:batches]:
                outputs = outputs_of(self._student, fed.inputs, stepper.objective.features, values)
                total += float(stepper.objective.loss(outputs, stepper.targets(fed, fed.inputs), fed.labels))
        self._student.train()
        return total / batches

    def snapshot(self) -> dict[str, torch.Tensor]:
        """Returns copies of all weights and statistics."""
        return {name: tensor.detach().clone() for name, tensor in self._student.state_dict().items()}

    def rewind(self, snapshot: object) -> None:
        """Goes back to a snapshot; the optimizer begins anew."""
        if not isinstance(snapshot, dict):
            raise InternalError("a snapshot is what `snapshot` returned")
        self._student.load_state_dict(snapshot)
        self._stepper.optimizer.state.clear()

    def _placed(self, masks: Masks) -> Masks:
        return {name: mask.to(self._device, torch.float32) for name, mask in masks.items()}

    def _parts(self, data: Samples) -> tuple[Iterator[Fed], Iterator[Fed], int]:
        """Batches for the weights, batches to judge masks on, and how many samples the former have in a pass."""
        options, size = self._options, self._batch_size
        if isinstance(data, Dataset) and len(data) > 1:
            learned, judged = data.split(options.held_out, np.random.default_rng(options.train.seed))
            return self._endless(learned, 0), self._endless(judged, 1), len(learned)
        # what has no random access gives its first batches, which only a second pass would show to the weights
        batches = self._endless(data, 0)
        kept = min(max(1, round(options.held_out * len(data) / size)), _KEPT_BATCHES)
        first = [next(batches) for _ in range(kept)]
        return batches, itertools.cycle(first), max(size, len(data) - kept * size)

    def _endless(self, data: Samples, stream: int) -> Iterator[Fed]:
        """Batches of one size, pass after pass, each in an order of its own."""
        size, turn = self._batch_size, 0
        while True:
            rng, found = np.random.default_rng([self._options.train.seed, stream, turn]), False
            for batch in data.batches(size, shuffle=rng, drop_last=len(data) >= size):
                if len(batch.rows) < size:
                    batch = _filled(batch, size)
                found = True
                yield self._feeder.place(self._feeder.prepare(batch))
            if not found:
                raise DataError("The data gave no sample in a whole pass, and the search for keep ratios needs some.")
            turn += 1

    def _make_stepper(self, teacher: OnnxModule, sample: Fed) -> Stepper:
        options = self._options.train
        with torch.no_grad():
            values = outputs_of(teacher, sample.inputs).values
        objective = Objective(
            teacher,
            values,
            options,
            labels_shape=None if sample.labels is None else sample.labels.shape,
            labels_integer=sample.labels is None or not sample.labels.is_floating_point(),
        )
        precision, _ = make_precision(options, self._device, self._student, sample)
        schedule = make_schedule(
            replace(options, schedule="constant", warmup=_WARMUP).schedule_options, self.steps, self.steps
        )

        def net(*inputs: torch.Tensor) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
            named = dict(zip(self._student.input_names, inputs, strict=True))
            values = self._gates.values(self._student, self._masks)
            found: Outputs = outputs_of(self._student, named, objective.features, values)
            return found.values, dict(found.features)

        augment = parse_augment(options.augment)
        return Stepper(
            student=self._student,
            net=net,
            objective=objective,
            targets=TeacherOutputs(teacher, objective.features, precision.autocast),
            optimizer=make_optimizer(self._student, options),
            rate=lambda step: schedule.lr(min(step, self.steps - 1)),
            precision=precision,
            augment=augment if augment else None,
            average=None,
            grad_clip=options.grad_clip,
            seed=options.seed,
            rank=0,
        )


def _filled(batch: Batch, size: int) -> Batch:
    """Returns a batch with its samples repeated until there are `size`."""
    rows = np.arange(size) % len(batch.rows)
    labels = None if batch.labels is None else batch.labels[rows]
    return Batch({name: array[rows] for name, array in batch.inputs.items()}, labels, batch.rows[rows])
